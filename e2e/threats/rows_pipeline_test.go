package threats

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/remote/oidc/oidctest"
)

var pipeline = attacker{
	title: "A pipeline, or a platform's account",
	holds: "identity tokens of the platform that pipelines run on, truly signed: of a repository of his own, of another workflow or a pull request of the repository that may publish, or of one run of that very workflow.",
	left: "Whoever can change the workflow that may publish, on a ref that may, is that pipeline. Bind a protected environment and protected tags; the leaf of each release has the commit it was made of; " +
		"and the monitor asks whether the release was announced by something that the same account cannot write.",
	rows: []row{
		exchangeRow("pipeline-name-taken", "takes over the name of a repository or an owner that was given up", "refused; recorded", catch{"pipeline-ids", "exit 4", "this pipeline may not publish to project demo"},
			oidctest.Claims{"repository_id": "99", "repository_owner_id": "77"}),
		exchangeRow("pipeline-other-workflow", "asks from another workflow of the repository", "refused; recorded", catch{"pipeline-workflow", "exit 4", "this pipeline publishes to project demo, but not in a run like this one"},
			oidctest.Claims{"workflow_ref": "octo/web/.github/workflows/lint.yml@refs/tags/v1.0.0"}),
		exchangeRow("pipeline-fork", "asks from a pull request of a fork, which runs with the rights of the repository", "refused; recorded", catch{"pipeline-event", "exit 4", "this pipeline publishes to project demo, but not in a run like this one"},
			oidctest.Claims{"event_name": "pull_request_target"}),
		exchangeRow("pipeline-long-token", "has an issuer's token that is valid for ten days", "refused", catch{"identity-life", "exit 4", "the identity token is valid for too long"},
			oidctest.Claims{"exp": time.Now().Add(240 * time.Hour).Unix()}),
		{
			name: "pipeline-replay", does: "reads the identity token of a run in its log and uses it again", outcome: "refused; recorded", when: "at once",
			catches: []catch{{"identity-once", "exit 4", "this identity token was used already"}},
			passes:  catch{how: "exit 0", says: "ckt_"},
			play: func(w *world) string {
				i := w.pipeline()
				w.write("id-token", i.Sign(i.Times(time.Now()).With(released)))
				w.ok(w.as("", "token", "exchange", "--project", "demo", "--id-token-file", "id-token", "-q"))
				return w.refusedExchange(true)
			},
		},
		{
			name: "pipeline-release", does: "is the pipeline that may publish, and releases what nobody announced", outcome: "released; found from outside", when: "with the monitor's next round, after the time in which releases have to be announced",
			catches: []catch{{"announced", "exit 6", "nobody announced the release demo/web@1.0.1"}},
			passes:  catch{how: "exit 0", says: "nothing was found"},
			play: func(w *world) string {
				i := w.pipeline()
				auditor := w.auditor()
				w.ok(w.admin("push", w.pack("good", "web", "1.0.0", ""), "--project", "demo"))
				w.write("id-token", i.Sign(i.Times(time.Now()).With(released)))
				token := w.ok(w.as("", "token", "exchange", "--project", "demo", "--id-token-file", "id-token", "-q"))
				w.ok(w.as(token, "push", w.pack("evil", "web", "1.0.1", "evil"), "--project", "demo"))
				w.recorded("release.accepted", "web", "repository_id:41881900")
				return w.unannounced(auditor)
			},
		},
	},
}

// released is what a platform says of the run of a pipeline that may publish.
var released = oidctest.Claims{
	"aud": audience, "sub": "repo:octo/web", "repository_id": "41881900", "repository_owner_id": "65", "repository": "octo/web",
	"workflow_ref": "octo/web/.github/workflows/release.yml@refs/tags/v1.0.0", "ref": "refs/tags/v1.0.0", "event_name": "push",
}

const audience = "https://charts.example.com"

// pipeline starts a server that takes the tokens of an issuer, and binds one
// pipeline.
func (w *world) pipeline() *oidctest.Issuer {
	w.Helper()
	i := oidctest.New(w.T)
	w.start("--publisher-issuers", "github "+i.URL, "--publisher-audience", audience, "--allow-networks", "127.0.0.0/8")
	w.ok(w.admin("project", "create", "demo"))
	w.ok(w.admin("publisher", "add", "demo", "--name", "octo/web", "--id", "41881900", "--owner-id", "65", "--workflow", ".github/workflows/release.yml", "--ref", "refs/tags/v*"))
	return i
}

// exchangeRow asks for a publisher's token with an identity token that differs
// from that of the pipeline that may publish.
func exchangeRow(name, does, outcome string, c catch, differs oidctest.Claims) row {
	recorded := strings.HasSuffix(outcome, "recorded")
	return row{
		name: name, does: does, outcome: outcome, when: "at once",
		catches: []catch{c},
		passes:  catch{how: "exit 0", says: "ckt_"},
		play: func(w *world) string {
			i := w.pipeline()
			w.write("id-token", i.Sign(i.Times(time.Now()).With(released).With(differs)))
			return w.refusedExchange(recorded)
		},
	}
}

// refusedExchange shows the identity token at hand, and wants the refusal of a
// pipeline that proved who it is to be recorded.
func (w *world) refusedExchange(recorded bool) string {
	w.Helper()
	a := w.as("", "token", "exchange", "--project", "demo", "--id-token-file", "id-token", "-q")
	if said := w.ok(w.admin("audit", "list", "--event", "oidc.refused", "-o", "json")); a.code != 0 && recorded != strings.Contains(said, "octo/web") {
		w.Fatalf("recorded is %v, want %v: %s", !recorded, recorded, said)
	}
	return code(a)
}

var upstreamMaintainer = attacker{
	title: "An upstream's maintainer",
	holds: "the account by which somebody else's charts are published, and their repository.",
	left:  "The first release of bad content, and everything that nobody watched before. A mirror with reviews takes a version when somebody has signed it off.",
	rows: []row{{
		name: "upstream-retag", does: "replaces a version that was published", outcome: "found; a mirror serves the first bytes", when: "with the next poll",
		catches: []catch{{"first-seen", "exit 0", "changed"}},
		passes:  catch{how: "exit 0", says: "nothing happened"},
		play: func(w *world) string {
			up := newShelf(w)
			w.start("--allow-networks", "127.0.0.0/8")
			w.ok(w.admin("project", "create", "mirror", "--mirror", "up", "--public"))
			w.ok(w.admin("upstream", "add", "up", "--index", up.url, "--mirror-project", "mirror"))
			w.happens("mirrored")
			first := w.pack("good", "web", "1.0.0", "")
			w.serves("mirror/charts/web-1.0.0.tgz", first)
			up.put(charttest.Build(w.T, "web", "1.0.0", map[string]string{"values.yaml": "image: evil\n"}))
			w.poll("up")
			w.serves("mirror/charts/web-1.0.0.tgz", first)
			return code(w.admin("event", "list", "--upstream", "up", "--event", "changed"))
		},
	}},
}

// shelf is somebody else's repository, with one version of one chart.
type shelf struct {
	url string
	mu  sync.Mutex
	tgz []byte
}

func newShelf(w *world) *shelf {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, w.pack("good", "web", "1.0.0", "")))
	if err != nil {
		w.Fatal(err)
	}
	s := &shelf{tgz: b}
	server := httptest.NewServer(s)
	w.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *shelf) put(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tgz = b
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/index.yaml":
		fmt.Fprintf(w, "apiVersion: v1\nentries:\n  web:\n  - {name: web, version: 1.0.0, urls: [web-1.0.0.tgz], digest: %x, created: '2026-01-01T00:00:00Z'}\n", sha256.Sum256(s.tgz))
	case "/web-1.0.0.tgz":
		_, _ = w.Write(s.tgz)
	default:
		http.NotFound(w, r)
	}
}

// eventually waits for something that a server does by itself.
func (w *world) eventually(what string, done func() bool) {
	w.Helper()
	for end := time.Now().Add(daemontest.Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	w.Fatalf("%s did not happen", what)
}

func (w *world) happens(event string) {
	w.Helper()
	w.eventually(event, func() bool { return w.ok(w.admin("event", "list", "--event", event, "-q")) != "" })
}

// poll asks an upstream now and waits until that was done.
func (w *world) poll(name string) {
	w.Helper()
	last := func() time.Time {
		u, err := w.server.Client(w.server.Admin).Upstream(w.Context(), name)
		if err != nil {
			w.Fatal(err)
		}
		return u.Sources[0].Health.LastPoll
	}
	before := last()
	w.ok(w.admin("upstream", "poll", name))
	w.eventually("a poll", func() bool { return last().After(before) })
}

// serves wants a file to be served with the bytes of one in the users' folder.
func (w *world) serves(path, file string) {
	w.Helper()
	want, err := os.ReadFile(filepath.Join(w.dir, file))
	if err != nil {
		w.Fatal(err)
	}
	if status, got := w.get(path); status != http.StatusOK || !bytes.Equal(got, want) {
		w.Fatalf("%s is served with status %d and %d bytes, want those of %s", path, status, len(got), file)
	}
}
