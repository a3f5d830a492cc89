package threats

import "strings"

var attackers = []attacker{publisherToken, signingKey, pipeline, blobWriter, databaseWriter, auditWriter, oldCopy, signerlessServer, operator, logKeyAlone, administrator, upstreamMaintainer}

var publisherToken = attacker{
	title: "A publisher's token",
	holds: "a token that was stolen out of a pipeline or a laptop. It may release to one project.",
	left: "New versions under names that the token may release: nothing tells good content from bad. The audit trail says with which token each was released (`chartkeep audit list`), " +
		"the monitor asks who announced it, a policy that wants signatures needs a key beside the token, and pipelines that show who they are need no token that can be stolen.",
	rows: []row{
		{
			name: "publisher-token-overwrite", does: "offers other bytes for a released version", outcome: "refused; an alert", when: "at once",
			catches: []catch{
				{"claim", "exit 3", "release demo/web@1.0.0 is there already and cannot be replaced"},
				{"one-release", "exit 5", "web 1.0.0 was released before"},
				{"doors", "exit 5", "the index lists demo/web@1.0.0 with another digest than its leaf has"},
			},
			passes: catch{how: "exit 0", says: "nothing was found"},
			play: func(w *world) string {
				stolen := w.released()
				auditor := w.auditor()
				evil := w.pack("evil", "web", "1.0.0", "evil")
				if a := w.as(stolen, "push", evil, "--project", "demo"); a.code != 0 {
					w.alerted("other bytes were offered for a released version: demo/web@1.0.0")
					return code(a)
				}
				w.stop() // a server remembers releases, since they never change
				w.startOn(w.server.Data)
				w.serves("demo/charts/web-1.0.0.tgz", evil)
				return w.monitor(auditor)
			},
		},
		{
			name: "publisher-token-yank", does: "takes a release out of the lists", outcome: "refused", when: "at once",
			catches: []catch{{"rights", "exit 4", "may not yank releases in project demo"}},
			passes:  catch{how: "exit 0", says: "yanked"},
			play: func(w *world) string {
				return code(w.as(w.released(), "yank", "demo/web@1.0.0", "--reason", "broken", "--text", "gone"))
			},
		},
		{
			name: "publisher-token-elsewhere", does: "releases to a project that the token is not for", outcome: "refused", when: "at once",
			catches: []catch{{"rights", "exit 4", "may not push charts in project other"}},
			passes:  catch{how: "exit 0", says: "other/web"},
			play: func(w *world) string {
				stolen := w.released()
				w.ok(w.admin("project", "create", "other", "--public"))
				return code(w.as(stolen, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "other"))
			},
		},
		{
			name: "publisher-token-revoked", does: "uses the token after its theft was noticed and the token revoked", outcome: "refused", when: "at once; bearer tokens of OCI clients live up to five minutes longer",
			catches: []catch{{"revocation", "exit 4", "was revoked"}},
			passes:  catch{how: "exit 0", says: "demo/web"},
			play: func(w *world) string {
				stolen := w.released()
				w.ok(w.admin("token", "revoke", w.tokenID(stolen)))
				return code(w.as(stolen, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
			},
		},
		{
			name: "publisher-token-release", does: "releases a new version with malware in it", outcome: "released; found from outside", when: "with the monitor's next round, after the time in which releases have to be announced",
			catches: []catch{{"announced", "exit 6", "nobody announced the release demo/web@1.0.1"}},
			passes:  catch{how: "exit 0", says: "nothing was found"},
			play: func(w *world) string {
				stolen := w.released()
				auditor := w.auditor()
				w.ok(w.as(stolen, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
				w.recorded("release.accepted", "web", w.tokenID(stolen))
				return w.unannounced(auditor)
			},
		},
	},
}

var signingKey = attacker{
	title: "A publisher's token and a signing key",
	holds: "a token as above, and the private key of a signer that the project's policy knows.",
	left:  "What was signed before the key was revoked, and stays released. Nothing that was accepted becomes untrue later; block it with `chartkeep quarantine` if it is bad.",
	rows: []row{{
		name: "signing-key-stolen", does: "releases a signed chart after the key was revoked", outcome: "refused", when: "at once",
		catches: []catch{{"signer-window", "exit 3", "revoked"}},
		passes:  catch{how: "exit 0", says: "demo/web"},
		play: func(w *world) string {
			w.start()
			w.ok(w.admin("project", "create", "demo"))
			stolen := w.token("publisher")
			public := w.signingKey("stolen.pem")
			other := w.signingKey("new.pem")
			signer := func(name, key, more string) string {
				return "  - name: " + name + "\n    key: |\n      " + strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n      ") + "\n" + more
			}
			w.write("policy.yaml", "signatures:\n  require: all\n  kinds: [key]\n  signers:\n"+
				signer("old", public, "    revoked: 2026-01-01T00:00:00Z\n")+signer("new", other, ""))
			w.ok(w.admin("policy", "set", "demo", "policy.yaml"))
			evil := w.pack("evil", "web", "1.0.0", "evil")
			w.ok(w.as(stolen, "sign", evil, "--key", "stolen.pem"))
			return code(w.as(stolen, "push", evil, "--project", "demo"))
		},
	}},
}

var administrator = attacker{
	title: "An administrator's account",
	holds: "an account that owns a project and may approve requests, signed in as that person alone.",
	left:  "Two people together. What they do is a leaf with both names, waits for the policy's delay, alarms, and never touches what is released.",
	rows: []row{{
		name: "policy-weakened", does: "takes a protection away and approves it himself", outcome: "waits for another person", when: "at once",
		catches: []catch{
			{"second-person", "exit 4", "this needs two people"},
			{"second-name", "exit 1", "the server could not do this"},
		},
		passes: catch{how: "exit 0", says: "approved"},
		play: func(w *world) string {
			w.released()
			w.ok(w.admin("project", "set", "demo", "--require-provenance"))
			ann := func(role string) string {
				w.ok(w.admin("grant", "add", "ann", "--role", role, "--project", "*"))
				return w.ok(w.admin("token", "create", "--user", "ann", "--project", "*", "--role", role, "-q"))
			}
			w.ok(w.admin("user", "create", "ann", "--no-password"))
			owner, approver := ann("project-owner"), ann("approver")
			w.as(owner, "project", "set", "demo", "--require-provenance=false", "--text", "it is in the way")
			return code(w.as(approver, "request", "approve", "1"))
		},
	}},
}
