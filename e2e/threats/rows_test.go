package threats

import (
	"crypto/ed25519"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite"
)

// rows are the threat table. What is in docs/threat-model.md is made of them.
var rows = []row{
	{
		name: "publisher-token-overwrite", attacker: "a publisher's token", does: "offers other bytes for a released version",
		outcome: "refused", check: "the claim's unique key", says: `exit 3\n(.|\n)*release demo/web@1\.0\.0 is there already and cannot be replaced`,
		without: []mutation{{"internal/store/sqlstore/claim.go", "	return b.refuse(c, action, got.refusal, &held)\n}", "	got.refusal = nil\n	return b.refuse(c, action, nil, &held)\n}"}},
		play: func(w *world, _ bool) string {
			stolen := w.released()
			return code(w.as(stolen, "push", w.pack("evil", "web", "1.0.0", "evil"), "--project", "demo"))
		},
	},
	{
		name: "publisher-token-release", attacker: "a publisher's token", does: "releases a new version with malware in it",
		outcome: "found by the monitor", check: "the monitor's list of announced releases", says: `exit 6\n(.|\n)*demo/web@1\.0\.1`,
		play: func(w *world, checked bool) string {
			stolen := w.released()
			w.write("announced.txt", "demo/web@1.0.0 "+w.digest("demo", "web", "1.0.0")+"\n")
			args := []string{"monitor", "--once", "--state", "monitor", "--log-key", w.logKey(), "--fail-on", "medium", "--allow-networks", "127.0.0.0/8"}
			if checked {
				args = append(args, "--announced", "announced.txt", "--announce-within", "0s", "--announced-since", "2020-01-01")
			}
			auditor := w.auditor()
			w.ok(w.as(stolen, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
			return code(w.as(auditor, args...))
		},
	},
	{
		name: "bucket-write", attacker: "the right to write to the blob store", does: "replaces the bytes of an archive",
		outcome: "never served; found by scrub", check: "the digest on every whole read", says: `(?i)broke off|blob-damaged`,
		without: []mutation{{"internal/digest/verify.go", "got != v.digest {", "false && got != v.digest {"}},
		play: func(w *world, _ bool) string {
			w.released()
			flip(w.T, w.blob(w.digest("demo", "web", "1.0.0")))
			return w.download("demo/charts/web-1.0.0.tgz")
		},
	},
	{
		name: "bucket-write-scrub", attacker: "the right to write to the blob store", does: "damages the bytes of an archive that nobody pulls",
		outcome: "found by scrub", check: "scrub, which reads every byte that the log names", says: `exit 5\n(.|\n)*demo/web@1\.0\.0`,
		play: func(w *world, checked bool) string {
			w.released()
			flip(w.T, w.blob(w.digest("demo", "web", "1.0.0")))
			if !checked {
				return code(w.admin("scrub", "status"))
			}
			return code(w.admin("scrub", "run", "--wait"))
		},
	},
	{
		name: "database-write", attacker: "the database, without the log's key", does: "lets a released version stand for another archive",
		outcome: "never served; found by scrub", check: "the comparison of a row with its leaf before it is served", says: `release demo/web@1\.0\.0 is not as leaf 1 of the log says`,
		without: []mutation{{"internal/release/attest.go", "	if doubt == nil && s.attested.has(r.ID, sum) {\n", "	if true || doubt == nil && s.attested.has(r.ID, sum) {\n"}},
		play: func(w *world, _ bool) string {
			publisher := w.released()
			w.ok(w.as(publisher, "push", w.pack("evil", "web", "9.9.9", "evil"), "--project", "demo"))
			evil := w.digest("demo", "web", "9.9.9")
			w.stop()
			w.sql("DROP TRIGGER release_freeze", "UPDATE release SET archive = '"+evil+"' WHERE version = '1.0.0'")
			w.start(w.server.Data)
			return w.download("demo/charts/web-1.0.0.tgz")
		},
	},
	{
		name: "fork-pin", attacker: "the server and the log's key", does: "shows a second history of the same length",
		outcome: "found by every client that remembers", check: "chartkeep.sum: the log has to continue the checkpoint that was seen", says: `exit 5\n(.|\n)*(evidence|fork)`,
		play: func(w *world, checked bool) string {
			publisher := w.released()
			key := w.logKey()
			fork := w.copyOfStopped()
			w.ok(w.as(publisher, "push", w.pack("good", "web", "1.0.1", ""), "--project", "demo"))
			w.ok(w.as(publisher, "verify", "--sum", "demo/web@1.0.1", "--log-key", key))
			w.stop()
			w.start(fork)
			w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
			if !checked {
				return code(w.as(publisher, "verify", "demo/web@1.0.1", "--log-key", key))
			}
			return code(w.as(publisher, "verify", "--sum", "demo/web@1.0.1", "--log-key", key))
		},
	},
	{
		name: "log-key-alone", attacker: "the log's key, and a place between server and client", does: "signs a log of its own that has its archive",
		outcome: "found by clients with a witness policy", check: "the quorum of witnesses", says: `(?i)exit [15]\n(.|\n)*witness-quorum +(fail|unchecked)`,
		play: func(w *world, checked bool) string {
			publisher := w.released()
			key := w.logKey()
			forged := w.copyOfStopped()
			witness := w.witness(key)
			w.stop()
			w.start(forged) // the attacker's own server, with the key
			w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
			w.write("policy", "log "+w.read(key)+"\nwitness w "+witness+"\ngroup all all w\nquorum all\n")
			args := []string{"verify", "--sum", "demo/web@1.0.1", "--log-key", key}
			if checked {
				args = append(args, "--policy", "policy")
			}
			return code(w.as(publisher, args...))
		},
	},
	{
		name: "duplicate-leaf", attacker: "the server and the log's key", does: "appends a second release of a version that is there",
		outcome: "found by monitors and auditing witnesses", check: "the rule that a version has one release, which the monitor checks over all leaves", says: `exit 5\n(.|\n)*demo/web@1\.0\.0`,
		without: []mutation{{"internal/monitor/follow.go", "	violations := m.log.replay.Add(index, entry)\n", "	violations := m.log.replay.Add(index, entry)\n	violations = nil\n"}},
		play: func(w *world, _ bool) string {
			publisher := w.released()
			auditor := w.auditor()
			w.stop()
			// The operator makes room for it: the row goes, and its leaf stays.
			w.sql("DROP TRIGGER release_keep", "DROP TRIGGER release_freeze", "UPDATE release SET version = '0.0.1', version_key = '0.0.1', file = 'gone.tgz', tag = '0.0.1', sort_key = '0'",
				"DELETE FROM tag")
			w.start(w.server.Data)
			w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.0", "evil"), "--project", "demo"))
			return code(w.as(auditor, "monitor", "--once", "--state", "monitor", "--log-key", w.logKey(), "--archives", "none"))
		},
	},
	{
		name: "restored-backup", attacker: "an old copy of the database", does: "puts it back, so that releases since are forgotten",
		outcome: "refused: the server is read-only", check: "the checkpoints that are kept beside the blobs", says: `(?i)read-only`,
		without: []mutation{{"internal/daemon/custody.go", "	refusal := st.Refusal()\n", "	refusal := st.Refusal()\n	refusal = nil\n"}},
		play: func(w *world, _ bool) string {
			publisher := w.released()
			old := w.copyOfStopped()
			w.ok(w.as(publisher, "push", w.pack("good", "web", "1.0.1", ""), "--project", "demo"))
			w.stop()
			for _, name := range []string{"chartkeep.db", "chartkeep.db-wal", "chartkeep.db-shm"} {
				b, err := os.ReadFile(filepath.Join(old, name))
				if err != nil {
					os.Remove(filepath.Join(w.server.Data, name))
					continue
				}
				if err := os.WriteFile(filepath.Join(w.server.Data, name), b, 0o600); err != nil {
					w.Fatal(err)
				}
			}
			w.startAnyway(w.server.Data)
			return code(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
		},
	},
	{
		name: "audit-row", attacker: "the database, without the keys", does: "rewrites what the audit trail says somebody did",
		outcome: "found by audit verify", check: "the root of the audit log, computed from its events", says: `exit 5\n`,
		play: func(w *world, checked bool) string {
			publisher := w.released()
			w.as(publisher, "push", w.pack("evil", "web", "1.0.0", "evil"), "--project", "demo")
			auditor := w.auditor()
			keys := []string{"--log-key", w.logKey(), "--audit-key", w.key("audit.vkey")}
			w.stop()
			w.sql("DROP TRIGGER leaf_freeze", "UPDATE leaf SET entry = CAST(replace(CAST(entry AS TEXT), 'release.refused.overwrite', 'release.refused.file-name') AS BLOB) WHERE log = 2 AND CAST(entry AS TEXT) LIKE '%release.refused.overwrite%'")
			w.startAnyway(w.server.Data)
			if !checked {
				return code(w.as(auditor, "audit", "list"))
			}
			return code(w.as(auditor, append([]string{"audit", "verify"}, keys...)...))
		},
	},
	{
		name: "policy-weakened", attacker: "an administrator's account", does: "takes a protection away and approves it himself",
		outcome: "refused; waits for another person", check: "the second person, compared inside the transaction", says: `exit 4\n(.|\n)*this needs two people`,
		without: []mutation{
			{"internal/release/request.go", "		return CheckSecond(r.Requester, r.Made, second)\n", "		return nil\n"},
			{"internal/store/sqlstore/request.go", "x.decider == x.requester {", "false {"},
		},
		play: func(w *world, _ bool) string {
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
	},
	{
		name: "signing-key-stolen", attacker: "a publisher's token and a signing key that was stolen", does: "releases a signed chart after the key was revoked",
		outcome: "refused", check: "the moment from which on a signer is revoked", says: `(?i)exit 3\n(.|\n)*revoked`,
		without: []mutation{{"internal/signature/signature.go", "	case !s.Revoked.IsZero() && !at.Before(s.Revoked):\n", "	case false && !s.Revoked.IsZero() && !at.Before(s.Revoked):\n"}},
		play: func(w *world, _ bool) string {
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
	},
}

// released makes a project with a release in it, and returns a publisher's token.
func (w *world) released() string {
	w.Helper()
	w.ok(w.admin("project", "create", "demo"))
	token := w.token("publisher")
	w.ok(w.as(token, "push", w.pack("good", "web", "1.0.0", ""), "--project", "demo"))
	return token
}

func (w *world) digest(project, name, version string) string {
	w.Helper()
	return w.ok(w.admin("release", "show", project+"/"+name+"@"+version, "-q"))
}

func (w *world) auditor() string {
	w.Helper()
	return w.ok(w.admin("token", "create", "--project", "*", "--role", "auditor", "--name", "auditor", "-q"))
}

func (w *world) write(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read(name string) string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// download fetches a file as any HTTP client does, and says what came of it.
func (w *world) download(path string) string {
	w.Helper()
	req, err := http.NewRequest(http.MethodGet, w.server.URL+"/"+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.server.Admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return "the transfer broke off: " + err.Error()
	case res.StatusCode == http.StatusOK:
		return "it was served"
	}
	return res.Status + "\n" + string(b)
}

// sql runs statements on the database of a server that is stopped.
func (w *world) sql(statements ...string) {
	w.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.server.Data, "chartkeep.db"))
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		res, err := db.Exec(s)
		if err != nil {
			w.Fatalf("%s: %v", s, err)
		}
		if n, _ := res.RowsAffected(); n == 0 && !strings.HasPrefix(s, "DROP") {
			w.Fatalf("%s changed nothing", s)
		}
	}
}

// signingKey makes a key pair, writes the private half to a file and returns
// the public one.
func (w *world) signingKey(name string) string {
	w.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		w.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.Fatal(err)
	}
	open, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		w.Fatal(err)
	}
	w.write(name, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open}))
}
