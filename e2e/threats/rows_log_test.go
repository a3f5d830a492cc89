package threats

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

var operator = attacker{
	title: "The server and the log's key",
	holds: "everything that the operator of the registry has: machine, database, blob store, keys.",
	left: "New versions of charts, under any name: they are leaves for everyone to see, and the monitor asks who announced them. A fork that all witnesses sign as well is found by whoever has an old chartkeep.sum, " +
		"and by nobody who never looked before. Refusing service, and showing an old state to somebody who remembers nothing.",
	rows: []row{
		{
			name: "fork", does: "shows somebody a second history in which a version has other content", outcome: "found by everyone who remembers; an evidence file that convinces others", when: "with the next `chartkeep verify --sum`",
			catches: []catch{
				{"pinned-digest", "exit 5", "when it was verified before"},
				{"pinned-checkpoint", "exit 5", "signed two different logs of"},
			},
			passes: catch{how: "exit 0", says: "demo/web"},
			play: func(w *world) string {
				publisher := w.released()
				key := w.key("log.vkey")
				fork := w.copyOfStopped()
				w.ok(w.as(publisher, "push", w.pack("good", "web", "1.0.1", ""), "--project", "demo"))
				w.ok(w.as(publisher, "verify", "--sum", "demo/web@1.0.1", "--log-key", key))
				w.stop()
				w.startOn(fork)
				w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
				return w.remembering(publisher, "demo/web@1.0.1", key)
			},
		},
		{
			name: "fork-elsewhere", does: "shows a second history that differs in charts that the reader does not use", outcome: "found by everyone who remembers; an evidence file that convinces others", when: "with the next `chartkeep verify --sum`",
			catches: []catch{{"pinned-checkpoint", "exit 5", "signed two different logs of"}},
			passes:  catch{how: "exit 0", says: "demo/web"},
			play: func(w *world) string {
				publisher := w.released()
				key := w.key("log.vkey")
				fork := w.copyOfStopped()
				w.ok(w.as(publisher, "push", w.pack("good", "web", "1.0.1", ""), "--project", "demo"))
				w.ok(w.as(publisher, "verify", "--sum", "demo/web@1.0.0", "--log-key", key))
				w.stop()
				w.startOn(fork)
				w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
				return w.remembering(publisher, "demo/web@1.0.0", key)
			},
		},
		{
			name: "fork-witnessed", does: "asks a witness to cosign the second history", outcome: "refused", when: "at once",
			catches: []catch{{"witness-memory", "status 422", "the proof does not show that the log of"}},
			passes:  catch{how: "status 200", says: "witness.example.com/w1"},
			play: func(w *world) string {
				publisher := w.released()
				w.witness(w.key("log.vkey"))
				witness := "http://" + w.beside(`(127\.0\.0\.1:\d+)`, "witness", "serve", "--log", "log.vkey", "--listen", "127.0.0.1:0")
				fork := w.copyOfStopped()
				w.ok(w.as(publisher, "push", w.pack("good", "web", "1.0.1", ""), "--project", "demo"))
				said, size := w.cosign(witness, 0)
				if !(catch{how: "status 200"}).in(said) {
					w.Fatalf("the witness does not cosign the true log: %s", said)
				}
				w.stop()
				w.startOn(fork)
				w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
				said, _ = w.cosign(witness, size)
				return said
			},
		},
		{
			name: "second-leaf", does: "appends a second release of a version that is there: proofs of both hold", outcome: "found by every monitor", when: "with the monitor's next round",
			catches: []catch{
				{"one-release", "exit 5", "web 1.0.0 was released before"},
				{"doors", "exit 5", "the index lists demo/web@1.0.0 with another digest than its leaf has"},
			},
			passes: catch{how: "exit 0", says: "nothing was found"},
			play: func(w *world) string {
				publisher := w.released()
				auditor := w.auditor()
				w.stop()
				// The operator makes room for it: the row goes, and its leaf stays.
				w.sql("DROP TRIGGER release_keep", "DROP TRIGGER release_freeze", "UPDATE release SET version = '0.0.1', version_key = '0.0.1', file = 'gone.tgz', tag = '0.0.1', sort_key = '0'",
					"DELETE FROM tag")
				w.startOn(w.server.Data)
				w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.0", "evil"), "--project", "demo"))
				return w.monitor(auditor)
			},
		},
	},
}

// remembering verifies a chart with what was remembered. What it finds false has
// to convince others.
func (w *world) remembering(token, ref, key string) string {
	w.Helper()
	a := w.as(token, "verify", "--sum", ref, "--log-key", key)
	if a.code == 5 {
		w.convicts(key)
	}
	return code(a)
}

var signerlessServer = attacker{
	title: "The server, without the log's key",
	holds: "the machine of the server with its database, its blob store and the secret that it shows to its signer. The log's key is in a signer, another process of another user or machine (`chartkeep signer`).",
	left: "What he appends while he is in: the signer signs whatever continues the log, and it is there for the monitor to see, for ever. Old states and no service, as long as he is in. " +
		"The key of the audit log is on the server: its states in the release log are what holds it.",
	rows: []row{{
		name: "signer-fork", does: "asks the signer to sign a history in which something is taken back", outcome: "nothing is signed", when: "at once",
		catches: []catch{{"signer-memory", "status 422", "the proof does not show that the log of"}},
		passes:  catch{how: "status 200", says: "charts.example.com/log"},
		play: func(w *world) string {
			w.ok(w.as("", "signer", "init", "--log-origin", "charts.example.com/log", "--dir", "signer"))
			signer := w.beside("^log-signer: (http://.*)$", "signer", "serve", "--dir", "signer", "--listen", "127.0.0.1:0")
			if err := os.Mkdir(filepath.Join(w.dir, "data"), 0o700); err != nil {
				w.Fatal(err)
			}
			w.write("data/log.vkey", w.read("signer/log.vkey"))
			w.start("--log-signer", signer, "--log-signer-secret", filepath.Join(w.dir, "signer", "secret"), "--allow-networks", "127.0.0.0/8")
			publisher := w.released()
			w.ok(w.as(publisher, "verify", "demo/web@1.0.0", "--log-key", w.key("log.vkey")))
			return w.signHistory(signer, w.read("signer/secret"))
		},
	}},
}

// signHistory asks a signer for a signature under another history of the size
// that it signed last.
func (w *world) signHistory(signer, secret string) string {
	w.Helper()
	ask := func(method, path string, body []byte) (string, []byte) {
		req, err := http.NewRequest(method, signer+path, bytes.NewReader(body))
		if err != nil {
			w.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(secret))
		return w.do(req)
	}
	_, text := ask(http.MethodGet, "/checkpoint", nil)
	last, err := tlog.ParseCheckpoint(text)
	if err != nil {
		w.Fatal(err)
	}
	last.Root[0] ^= 1
	head, err := tlog.HeadText(last.Origin, last.Size, last.Root)
	if err != nil {
		w.Fatal(err)
	}
	how, answer := ask(http.MethodPost, "/sign-head", tlog.WitnessRequest{Old: last.Size, Checkpoint: head}.Marshal())
	return how + "\n" + string(answer)
}

var logKeyAlone = attacker{
	title: "The log's key alone",
	holds: "a copy of the log's key, an old copy of the data, and a place between server and client.",
	left:  "Clients that remember nothing and ask for no witnesses: a signature by the log's key is all that they look at.",
	rows: []row{{
		name: "log-key-alone", does: "signs a log of his own that has his archive, for somebody who was never here", outcome: "not believed by clients with a witness policy", when: "with the first `chartkeep verify --policy`",
		catches: []catch{{"quorum", "exit 1", "does not have the quorum"}},
		passes:  catch{how: "exit 0", says: "demo/web"},
		play: func(w *world) string {
			publisher := w.released()
			key := w.key("log.vkey")
			forged := w.copyOfStopped()
			witness := w.witness(key)
			w.stop()
			w.startOn(forged) // the attacker's own server, with the key
			w.ok(w.as(publisher, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
			w.write("policy", "log "+w.read(key)+"\nwitness w "+witness+"\ngroup all all w\nquorum all\n")
			return code(w.as(publisher, "verify", "--sum", "demo/web@1.0.1", "--log-key", key, "--policy", "policy"))
		},
	}},
}
