package watch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// world is a service on a real store, with upstreams that a test writes the
// script of and a registry in memory.
type world struct {
	testing.TB
	*watch.Service
	store    watch.Store
	sources  *scripted
	registry *vault
	ctx      context.Context
	now      time.Time // moved by the test
}

var boss = audit.Caller{Principal: access.Principal{Kind: access.KindUser, ID: "usr-boss", Name: "boss"}, Door: audit.DoorCLI}

func newWorld(t testing.TB, with ...func(*watch.Config)) *world {
	t.Helper()
	w := &world{TB: t, ctx: t.Context(), now: morning, sources: newScripted(), registry: newVault()}
	clock := func() time.Time { return w.now }
	keys := storetest.Keys(t)
	store, err := sqlstore.Open(w.ctx, sqlstore.Config{
		SQLite: filepath.Join(t.TempDir(), "chartkeep.db"), Origin: storetest.Origin,
		Signer: keys.Signer, AuditSigner: keys.AuditSigner, VerifierKey: keys.VerifierKey, Now: clock,
	})
	w.ok(err)
	t.Cleanup(func() { store.Close() })
	w.store = store
	cfg := watch.Config{Store: store, Sources: w.sources, Registry: w.registry, Limits: chart.DefaultLimits(), Now: clock}
	for _, change := range with {
		change(&cfg)
	}
	w.Service = watch.New(cfg)
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) refused(err error, kind problem.Kind, rule string) *problem.Error {
	w.Helper()
	p, ok := problem.As(err)
	if !ok || p.Kind != kind || p.Rule != rule {
		w.Fatalf("got error %v, want a problem of kind %s, rule %q", err, kind, rule)
	}
	return p
}

const home = "https://charts.example.test"

// watches adds an upstream with one index at home.
func (w *world) watches(change ...func(*watch.NewUpstream)) watch.Upstream {
	w.Helper()
	n := watch.NewUpstream{Name: "up", Sources: []watch.Source{{Kind: watch.SourceIndex, URL: home}}}
	for _, c := range change {
		c(&n)
	}
	u, err := w.AddUpstream(w.ctx, boss, n)
	w.ok(err)
	return u
}

func keep(k watch.Keep) func(*watch.NewUpstream) { return func(n *watch.NewUpstream) { n.Keep = k } }

// poll lets time pass, polls what is due, and returns the words of what
// happened since.
func (w *world) poll(pass time.Duration) string {
	w.Helper()
	before := w.last()
	w.now = w.now.Add(pass)
	_, err := w.PollDue(w.ctx)
	w.ok(err)
	return words(w.since(before))
}

func (w *world) last() int64 {
	w.Helper()
	newest, err := w.store.Events(w.ctx, watch.EventFilter{Limit: 1})
	w.ok(err)
	if len(newest) == 0 {
		return 0
	}
	return newest[0].ID
}

// since lists events after one, oldest first.
func (w *world) since(id int64) []watch.Event {
	w.Helper()
	var out []watch.Event
	for before := int64(0); ; {
		page, err := w.store.Events(w.ctx, watch.EventFilter{Before: before, Limit: 1000})
		w.ok(err)
		for _, e := range page {
			if e.ID > id {
				out = append(out, e)
			}
		}
		if len(page) < 1000 || page[len(page)-1].ID <= id {
			break
		}
		before = page[len(page)-1].ID
	}
	slices.Reverse(out)
	return out
}

// words are events in the order of their names: kind, version, severity.
func words(events []watch.Event) string {
	var out []string
	for _, e := range events {
		s := string(e.Kind)
		if e.Version != "" {
			s += " " + e.Version
		}
		if e.Severity != watch.Info {
			s += " " + string(e.Severity)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// only is the one event of a kind.
func (w *world) only(kind watch.EventKind) watch.Event {
	w.Helper()
	var found []watch.Event
	for _, e := range w.since(0) {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		w.Fatalf("%d events of kind %s: %+v", len(found), kind, found)
	}
	return found[0]
}

func fact(e watch.Event, label string) string {
	for _, f := range e.Evidence {
		if f.Label == label {
			return f.Value
		}
	}
	return ""
}

// state is what is known of a version at home.
func (w *world) state(version string) watch.VersionState {
	w.Helper()
	list, err := w.Versions(w.ctx, boss, "up", "web")
	w.ok(err)
	for _, v := range list {
		if v.Version == version {
			return v
		}
	}
	w.Fatalf("version %s is not known", version)
	return watch.VersionState{}
}

func (w *world) source() watch.Source {
	w.Helper()
	u, err := w.Upstream(w.ctx, boss, "up")
	w.ok(err)
	return u.Sources[0]
}

// scripted is upstreams that say what a test wrote.
type scripted struct {
	mu       sync.Mutex
	answers  map[string]answer // by URL of the source
	archives map[string][]byte // by URL
	polls    int
	fetched  []string
	archive  func(url string) error // fails a fetch
	asked    []string               // whether an archive is the same still

	tags       func(url string, archive []byte) string // ETags; nil for a server without
	provenance func(url string) ([]byte, error)        // nil: none is published
}

func newScripted() *scripted {
	return &scripted{answers: map[string]answer{}, archives: map[string][]byte{}}
}

func (s *scripted) Poll(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	s.mu.Lock()
	answer := s.answers[src.URL]
	s.polls++
	s.mu.Unlock()
	if answer == nil {
		return watch.Found{}, problem.New(problem.Unavailable, "refused", "%s refused the connection", src.URL)
	}
	return answer(ctx, v)
}

type answer func(ctx context.Context, v watch.Validators) (watch.Found, error)

func (s *scripted) Archive(_ context.Context, _ watch.Source, url string, v watch.Validators) (watch.Opened, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v != (watch.Validators{}) {
		s.asked = append(s.asked, url)
	}
	if s.archive != nil {
		if err := s.archive(url); err != nil {
			s.fetched = append(s.fetched, url)
			return watch.Opened{}, err
		}
	}
	b, ok := s.archives[url]
	var tag string
	if s.tags != nil {
		tag = s.tags(url, b)
	}
	if ok && tag != "" && v.ETag == tag {
		return watch.Opened{Unchanged: true, Validators: v}, nil
	}
	s.fetched = append(s.fetched, url)
	if !ok {
		return watch.Opened{}, problem.New(problem.NotFound, "http-404", "the server has nothing at %s", url)
	}
	return watch.Opened{ReadCloser: io.NopCloser(bytes.NewReader(b)), Validators: watch.Validators{ETag: tag}}, nil
}

func (s *scripted) Provenance(_ context.Context, _ watch.Source, url string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.provenance == nil {
		return nil, nil
	}
	return s.provenance(url)
}

func (s *scripted) answer(url string, f func(watch.Validators) (watch.Found, error)) {
	if f == nil {
		s.answerWith(url, nil)
		return
	}
	s.answerWith(url, func(_ context.Context, v watch.Validators) (watch.Found, error) { return f(v) })
}

func (s *scripted) answerWith(url string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[url] = a
}

// lists makes home list versions of web: "1.0.0=a" is a version with the
// archive a, "1.0.0=a,b" one that is listed twice, "1.0.0" one without a
// digest. "@2" is the day of creation, "!" deprecates, "~" makes the served
// archive another one than the listed.
func (w *world) lists(entries string) {
	w.Helper()
	w.sources.mu.Lock()
	c := upstream.Chart{Name: "web"}
	for _, word := range strings.Fields(entries) {
		word, deprecated := strings.CutSuffix(word, "!")
		word, day, _ := strings.Cut(word, "@")
		version, contents, _ := strings.Cut(word, "=")
		for _, content := range strings.Split(contents, ",") {
			listed, served, other := strings.Cut(content, "~")
			if !other {
				served = listed
			}
			v := upstream.Version{Version: version, URLs: []string{home + "/web-" + version + ".tgz"}, Deprecated: deprecated}
			if !strings.Contains(version, ".") || strings.Contains(version, "x") {
				v.Fault = "the version is not a version that Helm can read"
			}
			if listed != "" {
				v.Digest = strings.TrimPrefix(digest.SHA256(packed(w, version, listed)), "sha256:")
			}
			if day != "" {
				v.Created = time.Date(2026, 11, int(day[0]-'0'), 0, 0, 0, 0, time.UTC)
			}
			c.Versions = append(c.Versions, v)
			if served != "" {
				w.sources.archives[v.URLs[0]] = packed(w, version, served)
			}
		}
	}
	w.sources.mu.Unlock()
	w.shows(upstream.Index{Charts: []upstream.Chart{c}})
}

// shows makes home answer with an index, and with "nothing new" to who has it.
func (w *world) shows(x upstream.Index) { w.showsAt(home, x) }

func (w *world) showsAt(url string, x upstream.Index) {
	tag := digest.SHA256(fmt.Append(nil, x))
	w.sources.answer(url, func(v watch.Validators) (watch.Found, error) {
		if v.ETag == tag {
			return watch.Found{Unchanged: true, Validators: v}, nil
		}
		return watch.Found{Index: &x, Validators: watch.Validators{ETag: tag}}, nil
	})
}

// vault is a registry in memory.
type vault struct {
	mu       sync.Mutex
	blobs    map[string][]byte
	mirrored map[string]string // chart version -> digest
	proven   map[string][]byte // chart version -> its provenance
	mirrors  int               // how often Mirror was called
	listed   bool              // Mirror takes only what is listed
	fail     func(what string) error
	releases []watch.OwnRelease
	denied   map[access.Action]bool
}

func newVault() *vault {
	return &vault{blobs: map[string][]byte{}, mirrored: map[string]string{}, proven: map[string][]byte{}}
}

func (r *vault) failing(what string) error {
	if r.fail != nil {
		return r.fail(what)
	}
	return nil
}

func (r *vault) AllowInstance(_ context.Context, _ audit.Caller, a access.Action) error {
	if r.denied[a] {
		return problem.New(problem.Denied, "access-denied", "you may not")
	}
	return nil
}

func (r *vault) MirrorTarget(_ context.Context, project, _ string) error {
	if project != "mirror" {
		return problem.New(problem.NotFound, "project", "there is no project %s", project)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing("target")
}

func (r *vault) Mirror(_ context.Context, _ string, archive io.Reader, o watch.MirrorOrigin) (watch.MirrorResult, error) {
	b, err := io.ReadAll(archive)
	if err != nil {
		return watch.MirrorResult{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mirrors++
	if err := r.failing("mirror"); err != nil {
		return watch.MirrorResult{}, err
	}
	d, key := digest.SHA256(b), o.Chart+" "+o.Version
	if _, ok := r.mirrored[key]; !ok && o.Provenance != nil {
		prov, err := o.Provenance(context.Background(), d)
		if err != nil {
			return watch.MirrorResult{}, err
		}
		r.proven[key] = prov
	}
	if r.listed && o.Digest != d {
		return watch.MirrorResult{}, problem.New(problem.Disproven, "mirror-digest", "the archive is not the one that the upstream lists")
	}
	if held, ok := r.mirrored[key]; ok && held != d {
		return watch.MirrorResult{}, problem.New(problem.Immutable, "overwrite", "release %s is there already", key).With("stored", "%s", held).With("offered", "%s", d)
	} else if ok {
		return watch.MirrorResult{Digest: d, Unchanged: true}, nil
	}
	r.mirrored[key] = d
	return watch.MirrorResult{Digest: d, LogIndex: int64(len(r.mirrored))}, nil
}

func (r *vault) ReleasesAfter(_ context.Context, after int64, limit int) ([]watch.OwnRelease, error) {
	var out []watch.OwnRelease
	for _, rel := range r.releases {
		if rel.LogIndex > after && len(out) < limit {
			out = append(out, rel)
		}
	}
	return out, nil
}

func (r *vault) OpenArchive(_ context.Context, d string) (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failing("open"); err != nil {
		return nil, err
	}
	b, ok := r.blobs[d]
	if !ok {
		return nil, problem.New(problem.Unavailable, "blob-lost", "the bytes of %s are missing", d)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r *vault) KeepArchive(_ context.Context, archive []byte) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.failing("keep"); err != nil {
		return "", err
	}
	d := digest.SHA256(archive)
	r.blobs[d] = archive
	return d, nil
}

var packedOnce sync.Map

// packed is an archive of web whose content is told by a letter. What follows a
// letter is another packing of the same content: a and a2.
func packed(t testing.TB, version, content string) []byte {
	t.Helper()
	key := version + " " + content
	if b, ok := packedOnce.Load(key); ok {
		return b.([]byte)
	}
	b := buildPacked(t, version, content[:1], content[1:])
	packedOnce.Store(key, b)
	return b
}

func buildPacked(t testing.TB, version, content, packing string) []byte {
	t.Helper()
	files := map[string]string{"templates/content.txt": content}
	if content == "c" {
		files["CHANGELOG.md"] = "# Changelog\n\n## [" + version + "]\n- first of c\n\n## [0.0.1]\n- old\n"
	}
	b := charttest.Build(t, "web", version, files)
	if packing == "" {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	to := gzip.NewWriter(&out)
	to.Comment = packing
	if _, err = io.Copy(to, z); err == nil {
		err = to.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// deployed makes an import that found these deployments.
func (w *world) deployed(list ...watch.Deployment) {
	w.Helper()
	ev := audit.Event{Time: w.now, Actor: audit.Actor{Kind: "user", ID: "usr-1"}, Door: audit.DoorServer}
	_, err := w.store.ReplaceDeployments(w.ctx, watch.Import{Name: "test"}, list, ev, w.now, func(_, _ *watch.Deployment) []watch.Event { return nil })
	w.ok(err)
}
