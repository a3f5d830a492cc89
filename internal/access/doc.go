// Package access decides who may do what.
//
// A Principal is whoever sends a request: nobody in particular, a person, or a
// token that belongs to a project. It holds grants. A Grant gives a Role in one
// project or in all projects below a prefix, and may be limited to some chart
// names, to pre-releases and to a time. A role is a fixed set of actions.
//
// What always holds:
//
//   - Nothing is allowed that no grant allows, except pulling from a public
//     project, which everyone may do. Grants add up; there are no deny rules and
//     no order among grants, so that adding a grant never takes a right away.
//   - There is no action that overwrites a release and none that deletes one, so
//     nobody can be given that right. ArtifactDelete reaches only the tags and
//     manifests of projects of kind artifacts, which hold no releases.
//   - Reading is per project. Limits on charts and versions narrow writing, and
//     a limited grant gives no right over the project as a whole.
//   - Approving is for people: no project token can do it, whatever its role, so
//     that a second pair of eyes cannot be made out of a token.
//   - Whoever makes a grant can give no more than the rule at Within or WithinOwn
//     says, and the grant never outlives the one that it was made from.
//
// Patterns know one wildcard, "*", which never crosses a slash inside a chart
// name; there are no regular expressions.
//
// The package also has the forms of credentials: long-lived tokens (NewToken),
// short-lived bearer tokens and their scopes as in the Distribution project's
// "Token Authentication Specification" and "Token Scope Documentation", and
// password hashes as in RFC 9106 (Argon2id) in the PHC string format.
//
// The package does no I/O and reads no clock: time, randomness and keys are
// arguments. All values are plain data; every function may be called from many
// goroutines at once.
package access
