package threats

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

const webTGZ = "demo/charts/web-1.0.0.tgz"

var blobWriter = attacker{
	title: "The blob store",
	holds: "the right to write to the folder or bucket that archives are in.",
	left:  "Bytes that are gone are gone: no check brings them back, a backup or a mirror does. Between two scrubs, damage of what nobody pulls is not known.",
	rows: []row{
		{
			name: "blob-replaced", does: "replaces the bytes of an archive", outcome: "never served whole; an alert", when: "with the next read, whoever reads",
			catches: []catch{
				{"digest-on-read", "status 500", "are not the bytes of that digest, and are not served"},
				{"digest-of-client", "exit 5", "the archive is sha256:"},
				{"content-of-client", "exit 5", "the files are sha256:"},
			},
			passes: catch{how: "exit 0", says: "verdict  pass"},
			play: func(w *world) string {
				publisher := w.released()
				w.overwrite(w.blob(w.digest("demo", "web", "1.0.0")), w.pack("evil", "web", "1.0.0", "evil"))
				if said := w.download(webTGZ, "good/web-1.0.0.tgz"); !strings.Contains(said, "other bytes") {
					w.alerted("stored bytes do not have the digest in the log: demo/web@1.0.0")
					return said
				}
				return code(w.as(publisher, "verify", "demo/web@1.0.0", "--log-key", w.key("log.vkey")))
			},
		},
		{
			name: "blob-damaged", does: "damages the bytes of an archive that nobody pulls", outcome: "found; an alert", when: "within one round of the scrub",
			catches: []catch{{"scrub-bytes", "exit 5", "demo/web@1.0.0"}},
			passes:  catch{how: "exit 0", says: "nothing is wrong"},
			play: func(w *world) string {
				w.released()
				flip(w.T, w.blob(w.digest("demo", "web", "1.0.0")))
				a := w.admin("scrub", "run", "--wait")
				if a.code != 0 {
					w.alerted("stored bytes do not have the digest in the log: demo/web@1.0.0")
				}
				return code(a)
			},
		},
	},
}

var databaseWriter = attacker{
	title: "The database, without the log's key",
	holds: "the right to write to the database, triggers included, with the server stopped or running.",
	left: "Rows that no leaf vouches for: accounts, grants, tokens. Whoever gives himself a right there can use it, and what he then does is in the log and in the audit trail; what he writes past them is not. " +
		"He can also delete everything, which everybody sees.",
	rows: []row{
		{
			name: "row-changed", does: "lets a released version stand for another archive", outcome: "never served; an alert", when: "before the row is served the first time after a start, and when it changes",
			catches: []catch{{"row-and-leaf", "status 500", "release demo/web@1.0.0 is not as leaf 1 of the log says"}},
			passes:  catch{how: "status 200", says: "other bytes"},
			play: func(w *world) string {
				evil := w.otherArchive()
				w.stop()
				w.sql("DROP TRIGGER release_freeze", "UPDATE release SET archive = '"+evil+"' WHERE version = '1.0.0'")
				w.startOn(w.server.Data)
				said := w.download(webTGZ, "good/web-1.0.0.tgz")
				if !strings.Contains(said, "other bytes") {
					w.alerted("demo/web@1.0.0")
				}
				return said
			},
		},
		{
			name: "leaf-changed", does: "does so, and writes a leaf that agrees", outcome: "not served; the server is not ready", when: "at the start, and with the scrub while it runs",
			catches: []catch{
				{"root-of-tree", "status 503", "do not have the root that its head was signed for"},
				{"proof-on-read", "status 500", "leaf 1 of the log is not of it"},
			},
			passes: catch{how: "status 200", says: "other bytes"},
			play: func(w *world) string {
				evil := w.otherArchive()
				w.stop()
				good := w.query("SELECT archive FROM release WHERE version = '1.0.0'")
				leaf := strings.ReplaceAll(w.query("SELECT CAST(entry AS TEXT) FROM leaf WHERE log = 1 AND idx = 1"), good, evil)
				hash := tlog.LeafHash([]byte(leaf))
				w.sql("DROP TRIGGER release_freeze", "DROP TRIGGER leaf_freeze", "UPDATE release SET archive = '"+evil+"' WHERE version = '1.0.0'",
					fmt.Sprintf("UPDATE leaf SET entry = CAST('%s' AS BLOB), hash = x'%x' WHERE log = 1 AND idx = 1", leaf, hash[:]))
				if err := w.startAnyway(w.server.Data); err != nil {
					return "no start\n" + err.Error()
				}
				said := w.download(webTGZ, "good/web-1.0.0.tgz")
				if status, _ := w.get("readyz"); status != http.StatusOK && !strings.Contains(said, "other bytes") {
					return fmt.Sprintf("status %d\n%s", status, w.server.Log())
				}
				return said
			},
		},
	},
}

// otherArchive releases another version beside web 1.0.0, and returns its
// digest.
func (w *world) otherArchive() string {
	w.Helper()
	publisher := w.released()
	w.ok(w.as(publisher, "push", w.pack("evil", "web", "9.9.9", "evil"), "--project", "demo"))
	return w.digest("demo", "web", "9.9.9")
}

var auditWriter = attacker{
	title: "The audit trail",
	holds: "the right to write to the database, and something to hide. He may have an old copy of the database.",
	left:  "What was never recorded, such as what was read. What an event says of an address may be forgotten on purpose, and is then only known to have been there.",
	rows: []row{
		{
			name: "audit-changed", does: "rewrites what the audit trail says somebody did", outcome: "found", when: "with the next `chartkeep audit verify`",
			catches: []catch{
				{"audit-root", "exit 5", "do not have the root that was signed"},
				{"audit-anchors", "exit 5", "events are others"},
			},
			passes: catch{how: "exit 0", says: "verdict  pass"},
			play: func(w *world) string {
				return w.auditAfter("DROP TRIGGER leaf_freeze", "UPDATE leaf SET entry = CAST(replace(CAST(entry AS TEXT), 'release.refused.overwrite', 'release.refused.file-name') AS BLOB) "+
					"WHERE log = 2 AND CAST(entry AS TEXT) LIKE '%release.refused.overwrite%'")
			},
		},
		{
			name: "audit-row-deleted", does: "deletes the row by which an event is listed", outcome: "found", when: "with the next `chartkeep audit verify`",
			catches: []catch{{"audit-rows", "exit 5", "events whose rows are gone: 1"}},
			passes:  catch{how: "exit 0", says: "verdict  pass"},
			play: func(w *world) string {
				return w.auditAfter("DELETE FROM audit WHERE action = 'release.refused.overwrite'")
			},
		},
		{
			name: "audit-rolled-back", does: "puts the whole audit log back to an older, truly signed state, and removes what was kept of it", outcome: "found", when: "with the next `chartkeep audit verify`",
			catches: []catch{{"audit-anchors", "exit 5", "of the release log says that there were"}},
			passes:  catch{how: "exit 0", says: "verdict  pass"},
			play: func(w *world) string {
				publisher := w.released()
				auditor := w.auditor()
				old := w.copyOfStopped()
				w.as(publisher, "push", w.pack("evil", "web", "1.0.0", "evil"), "--project", "demo")
				keys := []string{"audit", "verify", "--log-key", w.key("log.vkey"), "--audit-key", w.key("audit.vkey")}
				w.stop()
				w.sql("DROP TRIGGER leaf_keep", "DROP TRIGGER head_keep", "ATTACH '"+filepath.Join(old, "chartkeep.db")+"' AS old",
					"DELETE FROM leaf WHERE log = 2", "INSERT INTO leaf SELECT * FROM old.leaf WHERE log = 2",
					"DELETE FROM head WHERE log = 2", "INSERT INTO head SELECT * FROM old.head WHERE log = 2",
					"DELETE FROM audit", "INSERT INTO audit SELECT * FROM old.audit")
				w.forget()
				if err := w.startAnyway(w.server.Data); err != nil {
					return "no start\n" + err.Error()
				}
				return code(w.as(auditor, keys...))
			},
		},
	},
}

// auditAfter lets an overwrite be refused and recorded, changes the database
// of the server at rest, and verifies the audit trail.
func (w *world) auditAfter(statements ...string) string {
	w.Helper()
	publisher := w.released()
	w.as(publisher, "push", w.pack("evil", "web", "1.0.0", "evil"), "--project", "demo")
	auditor := w.auditor()
	verify := []string{"audit", "verify", "--log-key", w.key("log.vkey"), "--audit-key", w.key("audit.vkey")}
	w.stop()
	w.sql(statements...)
	if err := w.startAnyway(w.server.Data); err != nil {
		return "no start\n" + err.Error()
	}
	return code(w.as(auditor, verify...))
}

var oldCopy = attacker{
	title: "An old copy of the database",
	holds: "a backup, a snapshot, or whoever restores one.",
	left:  "An old copy of database and blob store together, where no witness has seen more: then the server cannot know, and whoever remembers a checkpoint does.",
	rows: []row{{
		name: "database-restored", does: "puts it back, so that releases since are forgotten and their names free", outcome: "the server takes no writes", when: "at the start",
		catches: []catch{{"kept-checkpoints", "exit 1", "this registry is read-only: its database went back behind what was signed"}},
		passes:  catch{how: "exit 0", says: "demo/web"},
		play: func(w *world) string {
			publisher := w.released()
			old := w.copyOfStopped()
			w.ok(w.as(publisher, "push", w.pack("good", "web", "1.0.1", ""), "--project", "demo"))
			w.stop()
			w.restore(old)
			if err := w.startAnyway(w.server.Data); err != nil {
				return "no start\n" + err.Error()
			}
			return code(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
		},
	}},
}

// restore puts the database of an old copy back, and nothing else.
func (w *world) restore(old string) {
	w.Helper()
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
}
