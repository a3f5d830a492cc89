// Package kube asks a real Kubernetes API server what Helm really stores, and
// whether Chartkeep reads it right. The server, in bed, runs no controllers
// and no nodes: nothing becomes ready, and nothing has to.
package kube
