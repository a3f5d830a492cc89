package upgrade_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/advisory"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/manifest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

var morning = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC) // a Monday

func person(id string) audit.Caller {
	return audit.Caller{Principal: access.Principal{Kind: access.KindUser, ID: id, Name: id}, Door: audit.DoorCLI}
}

var (
	ann = person("usr-ann")
	bob = person("usr-bob")
)

// world is a service on a real store, between a watch and a registry that a test
// writes the script of.
type world struct {
	testing.TB
	*upgrade.Service
	store  *sqlstore.Store
	watch  *fleet
	vault  *vault
	desk   *desk
	feeds  *mirrors
	ctx    context.Context
	now    time.Time // moved by the test
	config upgrade.Config
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, ctx: t.Context(), now: morning, watch: &fleet{archives: map[string][]byte{}}, vault: &vault{blobs: map[string][]byte{}}, desk: &desk{}, feeds: &mirrors{}}
	clock := func() time.Time { return w.now }
	keys := storetest.Keys(t)
	store, err := sqlstore.Open(w.ctx, sqlstore.Config{
		SQLite: filepath.Join(t.TempDir(), "chartkeep.db"), Origin: storetest.Origin,
		Signer: keys.Signer, AuditSigner: keys.AuditSigner, VerifierKey: keys.VerifierKey, Now: clock,
	})
	w.ok(err)
	t.Cleanup(func() { store.Close() })
	w.store = store
	w.config = upgrade.Config{
		Store: store, Watch: w.watch, Registry: w.vault, Mirrors: w.feeds, Desk: w.desk, Base: "https://keep.example",
		Feeds: advisory.DefaultLimits(), Render: manifest.DefaultLimits(), Now: clock,
	}
	w.restart()
	return w
}

// restart is another process on the same store.
func (w *world) restart() { w.Service = upgrade.New(w.config) }

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

func (w *world) judge() {
	w.Helper()
	_, err := w.JudgeAll(w.ctx)
	w.ok(err)
}

func (w *world) assessment(key string) upgrade.Assessment {
	w.Helper()
	a, err := w.Assessment(w.ctx, ann, key)
	w.ok(err)
	return a
}

func (w *world) plan(key string) upgrade.Plan {
	w.Helper()
	p, err := w.Plan(w.ctx, ann, key)
	w.ok(err)
	return p
}

// feed imports texts as the state of a feed, which is made when it is not there.
func (w *world) feed(name string, kind advisory.Kind, text string) upgrade.Imported {
	w.Helper()
	_, err := w.AddFeed(w.ctx, ann, upgrade.NewFeed{Name: name, Kind: kind})
	if problem.KindOf(err) != problem.Conflict {
		w.ok(err)
	}
	out, err := w.ImportFeed(w.ctx, ann, name, "feed.json", strings.NewReader(text))
	w.ok(err)
	return out
}

// fleet is what is deployed and published.
type fleet struct {
	mu          sync.Mutex
	deployments []watch.Deployment
	versions    []deployment.Published
	archives    map[string][]byte // by digest
	notes       []watch.Note
	told        []watch.Event
	changes     int
	fetched     int
	asked       int   // to tell
	silent      error // of Tell
	down        bool  // nothing can be fetched
}

func (f *fleet) AllDeployments(_ context.Context, each func(watch.Deployment) error) error {
	for _, d := range f.deployments {
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) ListDeployments(context.Context) ([]watch.Deployment, error) {
	return f.deployments, nil
}

func (f *fleet) OneDeployment(_ context.Context, key string) (watch.Deployment, error) {
	for _, d := range f.deployments {
		if d.Key == key {
			return d, nil
		}
	}
	return watch.Deployment{}, problem.New(problem.NotFound, "deployment", "there is no deployment %s", key)
}

func (f *fleet) ChartVersions(_ context.Context, d watch.Deployment) ([]deployment.Published, error) {
	return deployment.NewCatalogue(f.versions).Versions(&d.Deployment), nil
}

func (f *fleet) FetchArchive(_ context.Context, v deployment.Published) ([]byte, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetched++
	if f.down {
		return nil, "", problem.New(problem.Unavailable, "remote-refused", "nobody listens there")
	}
	if b, ok := f.archives[v.Archive]; ok {
		return b, v.Archive, nil
	}
	return nil, "", problem.New(problem.Unavailable, "remote-refused", "nobody listens there")
}

func (f *fleet) ChartNotes(_ context.Context, _, chart string) ([]watch.Note, error) {
	var out []watch.Note
	for _, n := range f.notes {
		if n.Chart == chart {
			out = append(out, n)
		}
	}
	return out, nil
}

func (f *fleet) Tell(_ context.Context, events []watch.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.silent != nil {
		return f.silent
	}
	for _, e := range events {
		if !slices.ContainsFunc(f.told, func(o watch.Event) bool { return o.Key == e.Key }) {
			f.told = append(f.told, e)
		}
	}
	return nil
}

func (f *fleet) Changes(context.Context) (string, error) { return fmt.Sprint(f.changes), nil }

// vault is a registry in memory, in which everybody may do everything but those
// who are denied.
type vault struct {
	mu     sync.Mutex
	blobs  map[string][]byte
	opened int
	denied map[string]access.Action // by principal
}

func (v *vault) AllowInstance(_ context.Context, c audit.Caller, a access.Action) error {
	if v.denied[c.Principal.ID] == a && a != "" {
		return problem.New(problem.Denied, "access", "%s may not %s", c.Principal.Name, a)
	}
	return nil
}

func (v *vault) KeepBlob(_ context.Context, r io.Reader) (string, int64, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	name := digest.SHA256(b)
	v.blobs[name] = b
	return name, int64(len(b)), nil
}

func (v *vault) OpenBlob(_ context.Context, name string) (io.ReadCloser, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.opened++
	b, ok := v.blobs[name]
	if !ok {
		return nil, problem.New(problem.NotFound, "blob", "there is no blob %s", name)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// mirrors answers for feeds with a URL.
type mirrors struct {
	body  string
	err   error
	asked int
}

func (m *mirrors) ReadFeed(_ context.Context, f upgrade.Feed) (upgrade.FeedBody, error) {
	m.asked++
	if m.err != nil {
		return upgrade.FeedBody{}, m.err
	}
	etag := digest.SHA256([]byte(m.body))
	if f.Validators.ETag == etag {
		return upgrade.FeedBody{Unchanged: true}, nil
	}
	return upgrade.FeedBody{Validators: watch.Validators{ETag: etag}, Name: "feed.json", Body: io.NopCloser(strings.NewReader(m.body))}, nil
}

// desk is a tracker in memory.
type desk struct {
	issues []upgrade.IssueText
	err    error
	after  func() // runs when an issue was created
}

func (d *desk) issue(i int) upgrade.Issue {
	return upgrade.Issue{Number: int64(i + 1), URL: fmt.Sprintf("https://forge.example/a/b/issues/%d", i+1), Closed: d.issues[i].Closed}
}

func (d *desk) Find(_ context.Context, _ upgrade.Tracker, marker string) (upgrade.Issue, error) {
	if d.err != nil {
		return upgrade.Issue{}, d.err
	}
	for i, text := range d.issues {
		if strings.Contains(text.Body, marker) {
			return d.issue(i), nil
		}
	}
	return upgrade.Issue{}, problem.New(problem.NotFound, "issue", "there is none")
}

func (d *desk) Create(ctx context.Context, _ upgrade.Tracker, text upgrade.IssueText) (upgrade.Issue, error) {
	if d.err != nil {
		return upgrade.Issue{}, d.err
	}
	d.issues = append(d.issues, text)
	if d.after != nil {
		d.after()
		if err := ctx.Err(); err != nil {
			return upgrade.Issue{}, err
		}
	}
	return d.issue(len(d.issues) - 1), nil
}

func (d *desk) Update(_ context.Context, _ upgrade.Tracker, number int64, text upgrade.IssueText) (upgrade.Issue, error) {
	if d.err != nil {
		return upgrade.Issue{}, d.err
	}
	d.issues[number-1] = text
	return d.issue(int(number - 1)), nil
}

// publishes makes a version of chart cache, which runs a redis image, known.
func (w *world) publishes(version, image string, seen time.Time, extra map[string]string) {
	w.Helper()
	files := map[string]string{
		"values.yaml": "image:\n  repository: docker.io/bitnami/redis\n  tag: " + image + "\nreplicas: 1\n",
		"templates/deployment.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: cache}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec:
      containers:
      - name: redis
        image: {{ .Values.image.repository }}:{{ .Values.image.tag }}
`,
	}
	for k, v := range extra {
		files[k] = v
	}
	b := charttest.Build(w, "cache", version, files)
	name := digest.SHA256(b)
	w.watch.archives[name] = b
	w.vault.blobs[name] = b
	w.watch.versions = append(w.watch.versions, deployment.Published{
		Upstream: "up", Repository: "https://charts.example", Chart: "cache", Version: version, Archive: name, FirstSeen: seen,
	})
	w.watch.changes++
}

// runs makes a deployment of a version exist, or move to it.
func (w *world) runs(key, version string, images []string, change ...func(*watch.Deployment)) {
	w.Helper()
	d := watch.Deployment{Import: "test", FirstSeen: w.now}
	d.Key, d.Tool, d.Name, d.Namespace, d.Environment, d.Owner = key, deployment.Helm, "cache", "data", "prod", "team-data"
	d.Chart = deployment.Chart{Name: "cache", Version: version, Repository: "https://charts.example"}
	d.Images = images
	d.Exposure, d.ExposureWhy = deployment.ExposureControlled, "declared"
	d.Match = deployment.Match{Confidence: deployment.Exact, How: "test", Upstream: "up", Chart: "cache", Version: version}
	for _, v := range w.watch.versions {
		if v.Version == version {
			d.Match.Archive = v.Archive
		}
	}
	for _, c := range change {
		c(&d)
	}
	i := slices.IndexFunc(w.watch.deployments, func(o watch.Deployment) bool { return o.Key == key })
	if i < 0 {
		w.watch.deployments = append(w.watch.deployments, d)
	} else {
		w.watch.deployments[i] = d
	}
	w.watch.changes++
}

// osv is an advisory on a component of Bitnami's.
func osv(id, cve, component, introduced, fixed, vector string, published time.Time) string {
	events := fmt.Sprintf(`{"introduced":%q}`, introduced)
	if fixed != "" {
		events += fmt.Sprintf(`,{"fixed":%q}`, fixed)
	}
	return fmt.Sprintf(`{"schema_version":"1.6.0","id":%q,"aliases":[%q],"summary":"a flaw","published":%q,"modified":%[3]q,
"affected":[{"package":{"ecosystem":"Bitnami","name":%q},"severity":[{"type":"CVSS_V3","score":%q}],"ranges":[{"type":"SEMVER","events":[%s]}]}]}`,
		id, cve, published.Format(time.RFC3339), component, vector, events)
}

const (
	vectorCritical = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	vectorHigh     = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
	vectorMedium   = "CVSS:3.1/AV:N/AC:H/PR:L/UI:N/S:U/C:L/I:L/A:N"
)

// redisWorld has a deployment of cache 1.0.0 with redis 6.2.6, in which two
// advisories are open, and 1.1.0 that closes one and 1.2.0 that closes both.
func redisWorld(t testing.TB) *world {
	w := newWorld(t)
	published := morning.AddDate(0, 0, -20)
	w.feed("bitnami", advisory.OSV, "["+
		osv("BIT-redis-2026-1", "CVE-2026-0001", "redis", "6.0.0", "6.2.8", vectorHigh, published)+","+
		osv("BIT-redis-2026-2", "CVE-2026-0002", "redis", "6.0.0", "6.2.9", vectorMedium, published)+"]")
	w.feed("kev", advisory.KEV, kev())
	w.publishes("1.0.0", "6.2.6-debian-12-r1", morning.AddDate(0, -6, 0), nil)
	w.publishes("1.1.0", "6.2.8-debian-12-r0", morning.AddDate(0, 0, -10), nil)
	w.publishes("1.2.0", "6.2.9-debian-12-r3", morning.AddDate(0, 0, -5), map[string]string{
		"CHANGELOG.md": "# Changelog\n\n## 1.2.0\n\n- Fix CVE-2026-0002 by moving redis to 6.2.9\n- You must delete the old StatefulSet before upgrading\n\n## 1.1.0\n\n- Update redis\n",
	})
	w.runs("prod/data/cache", "1.0.0", []string{"docker.io/bitnami/redis:6.2.6-debian-12-r1"})
	return w
}

func kev(cves ...string) string {
	type entry struct {
		CVE   string `json:"cveID"`
		Added string `json:"dateAdded"`
		Due   string `json:"dueDate"`
		Name  string `json:"vulnerabilityName"`
		Use   string `json:"knownRansomwareCampaignUse"`
	}
	list := []entry{{"CVE-2019-0001", "2026-10-01", "2026-10-20", "something else", "Unknown"}}
	for _, c := range cves {
		list = append(list, entry{c, "2026-10-20", "2026-11-10", "n", "Known"})
	}
	b, err := json.Marshal(map[string]any{"title": "t", "catalogVersion": "2026.11.01", "dateReleased": "2026-11-01T12:00:00Z", "count": len(list), "vulnerabilities": list})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func keys(list []upgrade.Finding, kind upgrade.FindingKind) string {
	var out []string
	for _, f := range list {
		if f.Kind == kind {
			out = append(out, f.Key)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
