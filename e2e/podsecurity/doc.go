// Package podsecurity holds what package manifest says of charts against what
// is not ours: Kubernetes' own evaluator of the Pod Security Standards, its
// fixtures, and every chart of the corpus.
//
// It is a module of its own so that the requirements of Pod Security admission
// never reach the product. The fixtures are read from the module cache, where
// the module's own tests have them.
package podsecurity
