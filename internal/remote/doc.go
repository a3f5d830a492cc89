// Package remote is everything that goes out over the network: one client with
// one guard on addresses, one set of credentials and one set of limits.
//
// What always holds:
//
//   - The address that is dialled is checked, after names were looked up and
//     for every connection: redirects, names that resolve to somewhere else the
//     second time, URLs found in an index and realms of tokens are all covered.
//     What is not a public address (the special-purpose registries of RFC 6890)
//     is refused unless Config.AllowNetworks has it.
//   - A credential is sent to the host that it is bound to and nowhere else.
//     Password, token and client certificate are chosen anew for every hop of
//     a redirect.
//   - Secrets are read from files and the environment when they are used, and
//     never stand in an error, a log line or a URL that is shown.
//   - Every answer has limits: on its headers, on the time until it begins, on
//     how slowly it may come, on how long it may take in all, and on its size
//     after decompression. No host gets more than so many requests at once.
//   - A redirect does not lead from https to http, and not further than five
//     hops.
//
// With a proxy, the connection is made to the proxy, and the proxy looks up the
// name. The guard then sees addresses that are written in the URL, and names
// that always mean this machine; what a name means to the proxy is for the
// proxy to judge. The address of the proxy itself is what the operator says,
// and is not checked.
package remote
