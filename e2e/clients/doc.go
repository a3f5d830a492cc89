// Package clients tests the server with the clients that its users have: the
// command lines of Helm 3 and Helm 4, the ChartMuseum push plugin, ORAS and
// its library, each built from its module as it is published, and our own.
//
// Their modules are in tools/go.mod, apart from this one, so that what they
// need is nobody else's matter. README.md in the folder above says how to run.
package clients
