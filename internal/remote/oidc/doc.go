// Package oidc speaks OpenID Connect to identity providers: it checks the
// identity tokens that pipelines show, and signs people in.
//
// It follows OpenID Connect Core 1.0 and Discovery 1.0, JSON Web Token (RFC
// 7519) with the advice of RFC 8725, PKCE (RFC 7636) and the answer's issuer (RFC
// 9207). Signatures are checked by coreos/go-oidc and go-jose; what those leave
// to their caller is done here.
//
// What always holds:
//
//   - A token is read, and its issuer, audience and times are checked, before
//     anything is fetched for it. Only issuers of the configuration are asked.
//   - An issuer is asked for its keys at most once in fetchPause (30 s), whatever
//     tokens come: a key id that is not known waits for that.
//   - A token is for this server alone: its audience is one, and ours. It was
//     issued in the past, for no longer than the longest life, with one of the
//     algorithms of a fixed list.
//   - What could not be checked is not accepted.
//
// That a token is taken only once is for the store, which all replicas share.
package oidc
