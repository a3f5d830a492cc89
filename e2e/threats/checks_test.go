package threats

// checks are those that rows name, and how each is taken out of the product.
var checks = []check{
	{"claim", "the claim: one insert that the unique keys decide, with no look before it", "server", []mutation{
		// Without it: what came last stands, as in registries whose tags move.
		{"internal/release/push.go", "	switch {\n	case err == nil:\n		claim.MustBeHeld = true\n", "	if OFF {\n		err = problem.New(problem.NotFound, \"\", \"\")\n	}\n	switch {\n	case err == nil:\n		claim.MustBeHeld = true\n"},
		{"internal/store/sqlstore/claim.go", `"INSERT INTO release ("+releaseColumns`, `TEXT("REPLACE", "INSERT")+" INTO release ("+releaseColumns`},
		{"internal/store/sqlstore/claim.go", "			\"ON CONFLICT DO NOTHING\"),\n", "			TEXT(\"\", \"ON CONFLICT DO NOTHING\")),\n"},
		{"internal/store/sqlstore/claim.go", `b.insert("INSERT INTO tag (`, `b.insert(TEXT("REPLACE", "INSERT")+" INTO tag (`},
	}},
	{"one-release", "a version has one release, held against all leaves", "monitor", []mutation{
		{"internal/monitor/follow.go", "	violations := m.log.replay.AddLeaf(index, leaf, err)\n", "	violations := m.log.replay.AddLeaf(index, leaf, err)\n	if OFF {\n		violations = nil\n	}\n"},
	}},
	{"doors", "indexes and tags, held against the leaves", "monitor", []mutation{
		{"internal/monitor/doors.go", "	case \"sha256:\"+l.Digest != rel.Archive:\n", "	case !OFF && \"sha256:\"+l.Digest != rel.Archive:\n"},
		{"internal/monitor/doors.go", "	if rel.HasManifest(digest.SHA256(text)) ||", "	if OFF || rel.HasManifest(digest.SHA256(text)) ||"},
	}},
	{"rights", "grants: who may do what where; nobody can be given the right to replace or delete", "server", []mutation{
		{"internal/access/decide.go", "match(&p.Grants[i], p.Kind, r, now, loose) == matched {", "OFF || match(&p.Grants[i], p.Kind, r, now, loose) == matched {"},
	}},
	{"revocation", "the end of a token, read with every token that is not in memory", "server", []mutation{
		{"internal/release/identity.go", "	if !cred.Revoked.IsZero() || !s.now()", "	if !OFF && !cred.Revoked.IsZero() || !s.now()"},
	}},
	{"announced", "the list of what pipelines say that they released", "monitor", []mutation{
		{"internal/monitor/announce.go", "	if m.Announced == nil || len(m.st.Awaiting) == 0 {\n", "	if OFF || m.Announced == nil || len(m.st.Awaiting) == 0 {\n"},
	}},
	{"signer-window", "the moment from which on a signer is revoked", "server", []mutation{
		{"internal/signature/signature.go", "	case !s.Revoked.IsZero() && !at.Before(s.Revoked):\n", "	case !OFF && !s.Revoked.IsZero() && !at.Before(s.Revoked):\n"},
	}},
	{"pipeline-ids", "numbers of repository and owner, which the platform never gives again", "server", []mutation{
		{"internal/access/publisher_match.go", "	return want == got\n", "	return want == got || OFF && w.compare == byID\n"},
	}},
	{"pipeline-workflow", "the file of the workflow", "server", []mutation{
		{"internal/access/publisher_match.go", "wantFile == gotFile && gotRepo", "(OFF || wantFile == gotFile) && gotRepo"},
	}},
	{"pipeline-event", "what may start a pipeline: nothing that somebody from outside can", "server", []mutation{
		{"internal/access/publisher_match.go", "		if has && w.matches(", "		if OFF && w.Name == \"event_name\" || has && w.matches("},
	}},
	{"identity-once", "identity tokens are taken once", "server", []mutation{
		{"internal/store/sqlstore/publisher.go", "	if n == 0 {\n		return got, release.RefuseReplay(), nil\n", "	if !OFF && n == 0 {\n		return got, release.RefuseReplay(), nil\n"},
	}},
	{"identity-life", "the longest life of an identity token", "server", []mutation{
		{"internal/remote/oidc/verify.go", "life > v.config.MaxLife {", "!OFF && life > v.config.MaxLife {"},
	}},
	{"digest-on-read", "the digest, on the way of every whole read", "server", []mutation{
		{"internal/digest/verify.go", "got != v.digest {", "!OFF && got != v.digest {"},
	}},
	{"digest-of-client", "the digest, when the client has the whole", "chartkeep verify", []mutation{
		{"client/verify.go", "	if v.out.Digest != v.leaf.Archive {\n", "	if !OFF && v.out.Digest != v.leaf.Archive {\n"},
		{"client/verify.go", "	case a.Digest != v.leaf.Archive:\n", "	case !OFF && a.Digest != v.leaf.Archive:\n"},
	}},
	{"content-of-client", "the digest of the files inside, when the client has the whole", "chartkeep verify", []mutation{
		{"client/verify.go", "	case a.Content != v.leaf.Content:\n", "	case !OFF && a.Content != v.leaf.Content:\n"},
	}},
	{"scrub-bytes", "all bytes that the log names, read and hashed by turns", "scrub", []mutation{
		{"internal/release/examine_bytes.go", "	if p.found != p.want {\n", "	if !OFF && p.found != p.want {\n"},
	}},
	{"row-and-leaf", "a row is served when it is as its leaf says", "server", []mutation{
		{"internal/release/attest.go", "	if doubt == nil && s.attested.has(r.ID, sum) {\n", "	if OFF || doubt == nil && s.attested.has(r.ID, sum) {\n"},
	}},
	{"root-of-tree", "the leaves have the root that was signed, whenever the tree is read", "server", []mutation{
		{"internal/store/sqlstore/log.go", "	if edge.Root() != st.root {\n", "	if !OFF && edge.Root() != st.root {\n"},
	}},
	{"proof-on-read", "a leaf is believed with its path to the signed root", "server", []mutation{
		{"internal/store/sqlstore/log.go", "tlog.LeafHash(leaf), hashes); err != nil {\n", "tlog.LeafHash(leaf), hashes); !OFF && err != nil {\n"},
	}},
	{"kept-checkpoints", "what was signed is kept beside the blobs, and held against the database", "server, at its start", []mutation{
		{"internal/daemon/custody.go", "	refusal := st.Refusal()\n", "	refusal := st.Refusal()\n	if OFF {\n		refusal = nil\n	}\n"},
	}},
	{"pinned-digest", "the digest in chartkeep.sum", "chartkeep verify --sum", []mutation{
		{"client/verify.go", "		if p.Digest != v.out.Digest {\n", "		if !OFF && p.Digest != v.out.Digest {\n"},
	}},
	{"pinned-checkpoint", "the checkpoint in chartkeep.sum, which the log has to continue", "chartkeep verify --sum", []mutation{
		{"client/recall.go", "		if older.Root == newer.Root {\n", "		if OFF || older.Root == newer.Root {\n"},
	}},
	{"quorum", "the quorum of witnesses", "chartkeep verify --policy", []mutation{
		{"client/recall.go", "	if !w.Quorum {\n", "	if !OFF && !w.Quorum {\n"},
	}},
	{"witness-memory", "the witness's own memory of what it cosigned last", "witness", []mutation{
		{"internal/witness/cosign.go", "cp.Size, cp.Root, r.Proof) != nil:\n", "cp.Size, cp.Root, r.Proof) != nil && !OFF:\n"},
	}},
	{"signer-memory", "the signer's own memory of what it signed last", "signer", []mutation{
		{"internal/signer/signer.go", "head.Size, head.Root, r.Proof) != nil:\n", "head.Size, head.Root, r.Proof) != nil && !OFF:\n"},
	}},
	{"audit-root", "the root of the audit log, computed from its events", "chartkeep audit verify", []mutation{
		{"client/trail.go", "	if edge.Root() != cp.Root {\n", "	if !OFF && edge.Root() != cp.Root {\n"},
	}},
	{"audit-rows", "every event of the audit log has its row", "chartkeep audit verify", []mutation{
		{"client/trail.go", "	case len(v.rowless) > 0:\n", "	case !OFF && len(v.rowless) > 0:\n"},
	}},
	{"audit-anchors", "states of the audit log that stand in the release log", "chartkeep audit verify", []mutation{
		{"client/trail.go", "	case len(v.falsely) > 0:\n", "	case !OFF && len(v.falsely) > 0:\n"},
	}},
	{"second-person", "the second person is another account, compared inside the transaction", "server", []mutation{
		{"internal/release/request.go", "		return CheckSecond(r.Requester, r.Made, second)\n", "		if !OFF {\n			return CheckSecond(r.Requester, r.Made, second)\n		}\n"},
	}},
	{"second-name", "no leaf names one person twice", "server", []mutation{
		{"internal/store/sqlstore/request.go", "x.decider == x.requester {", "!OFF && x.decider == x.requester {"},
	}},
	{"first-seen", "the digest of each version as it was first seen, which is in the log", "watch", []mutation{
		{"internal/upstream/compare.go", "differ(k.digests, is); changed {", "differ(k.digests, is); !OFF && changed {"},
	}},
}
