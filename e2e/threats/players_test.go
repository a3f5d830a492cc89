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
	"strconv"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/chartkeep/chartkeep/internal/access"
)

// released makes a project with a release in it, on a server that it starts if
// there is none, and returns a publisher's token.
func (w *world) released() string {
	w.Helper()
	if w.server == nil {
		w.start()
	}
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

// read reads a file of the users.
func (w *world) read(name string) string {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

// get fetches a file as any HTTP client does. The status is 0 where the
// transfer broke off.
func (w *world) get(path string) (status int, body []byte) {
	w.Helper()
	req, err := http.NewRequest(http.MethodGet, w.server.URL+"/"+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.server.Admin)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, b
}

// download says what comes of fetching a file whose true bytes are in the
// users' folder.
func (w *world) download(path, file string) string {
	w.Helper()
	status, got := w.get(path)
	switch {
	case status != http.StatusOK:
		return "status " + strconv.Itoa(status) + "\n" + string(got)
	case w.read(file) == string(got):
		return "status 200\nthe true bytes"
	}
	return "status 200\nother bytes"
}

// tokenID is the id of a token, which is no secret.
func (w *world) tokenID(secret string) string {
	w.Helper()
	id, _, err := access.ParseToken(secret)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// recorded wants an event of the audit trail to name a chart and who did it.
func (w *world) recorded(event, chart, who string) {
	w.Helper()
	if said := w.ok(w.admin("audit", "list", "--event", event, "--chart", chart, "-o", "json")); !strings.Contains(said, who) {
		w.Fatalf("no event %s of %s names %s:\n%s", event, chart, who, said)
	}
}

// alerted wants an alert to be raised, which a server does a moment later.
func (w *world) alerted(about string) {
	w.Helper()
	w.eventually("an alert that says "+about, func() bool { return strings.Contains(w.ok(w.admin("alert", "list")), about) })
}

// convicts wants one evidence file to be there that convicts the log before
// whoever has nothing but the log's key.
func (w *world) convicts(key string) {
	w.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "*evidence*"))
	if err != nil || len(files) != 1 {
		w.Fatalf("evidence files %q, %v, want one", files, err)
	}
	if a := w.as("", "verify", "--evidence", files[0], "--log-key", key); a.code != 5 {
		w.Fatalf("the evidence does not convict: %s", code(a))
	}
}

// monitor runs one round of a monitor of everything.
func (w *world) monitor(auditor string, flags ...string) string {
	w.Helper()
	return code(w.as(auditor, append([]string{"monitor", "--once", "--state", "monitor", "--log-key", w.key("log.vkey"), "--archives", "none"}, flags...)...))
}

// unannounced runs a monitor who knows that demo/web@1.0.0 alone was announced.
func (w *world) unannounced(auditor string) string {
	w.Helper()
	w.write("announced.txt", "demo/web@1.0.0 "+w.digest("demo", "web", "1.0.0")+"\n")
	return w.monitor(auditor, "--fail-on", "medium", "--announced", "announced.txt", "--announce-within", "0s", "--announced-since", "2020-01-01")
}

// sql runs statements on the database of a server that is stopped.
func (w *world) sql(statements ...string) {
	w.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.server.Data, "chartkeep.db"))
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // what one statement attaches, the next can use
	for _, s := range statements {
		res, err := db.Exec(s)
		if err != nil {
			w.Fatalf("%s: %v", s, err)
		}
		if n, _ := res.RowsAffected(); n == 0 && !strings.HasPrefix(s, "DROP") && !strings.HasPrefix(s, "ATTACH") {
			w.Fatalf("%s changed nothing", s)
		}
	}
}

// forget removes what is kept beside the blobs of what was signed.
func (w *world) forget() {
	w.Helper()
	dir := filepath.Join(w.server.Data, "blobs", "records")
	if _, err := os.Stat(dir); err != nil {
		w.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		w.Fatal(err)
	}
}

// query reads one value of the database of a server that is stopped.
func (w *world) query(q string) string {
	w.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.server.Data, "chartkeep.db"))
	if err != nil {
		w.Fatal(err)
	}
	defer db.Close()
	var out string
	if err := db.QueryRow(q).Scan(&out); err != nil {
		w.Fatalf("%s: %v", q, err)
	}
	return out
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
