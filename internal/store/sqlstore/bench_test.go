package sqlstore_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// BenchmarkClaim measures claims whose archives are stored already, beside a
// bare engine on the same tables, in turns so that both see the same machine.
// "ratio" is how many times longer a claim takes than the bare engine's.
func BenchmarkClaim(b *testing.B) {
	for _, place := range []struct {
		name string
		make func(testing.TB) database
	}{{"SQLite", newSQLite}, {"PostgreSQL", newPostgres}} {
		for _, publishers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/publishers=%d", place.name, publishers), func(b *testing.B) {
				d := place.make(b)
				s := d.open(b, nil)
				project := someProject(b, s)
				bare := newBareEngine(b, place.make(b))
				const turns = 8
				var ours, theirs, ourCPU, theirCPU time.Duration
				n := 0
				b.ResetTimer()
				for range turns {
					count := b.N/turns + 1
					next := func(i int) *release.Claim { return benchClaim(project, n+i) }
					before := cpuTime(b)
					ours += publish(publishers, count, func(i int) error {
						_, err := s.Claim(context.Background(), next(i))
						return err
					}, b)
					middle := cpuTime(b)
					theirs += publish(publishers, count, func(i int) error { return bare.claim(next(i)) }, b)
					ourCPU, theirCPU = ourCPU+middle-before, theirCPU+cpuTime(b)-middle
					n += count
				}
				b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/op")
				b.ReportMetric(float64(n)/ours.Seconds(), "claims/s")
				b.ReportMetric(float64(n)/theirs.Seconds(), "bare/s")
				b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
				b.ReportMetric(ourCPU.Seconds()*1e6/float64(n), "cpu-µs/claim")
				b.ReportMetric(ourCPU.Seconds()/theirCPU.Seconds(), "cpu-ratio")
			})
		}
	}
}

// cpuTime is what this process has used of the processor. On a shared machine
// it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// publish has publishers do count pieces of work and returns how long they
// took.
func publish(publishers, count int, do func(i int) error, b *testing.B) time.Duration {
	var wg sync.WaitGroup
	began := time.Now()
	for p := range publishers {
		wg.Go(func() {
			for i := p; i < count; i += publishers {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// benchClaim is a claim of a chart with the metadata that charts have: some
// 600 bytes.
func benchClaim(p release.Project, i int) *release.Claim {
	name, version := fmt.Sprintf("chart-%03d", i%100), fmt.Sprintf("1.%d.%d", i/1000, i)
	digest := func(what string) string {
		h := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, i))
		return "sha256:" + hex.EncodeToString(h[:])
	}
	v, err := chart.ParseVersion(version)
	if err != nil {
		panic(err)
	}
	r := release.Release{
		ProjectID: p.ID, Project: p.Name, Chart: name, Version: version, Key: v.Key(), SortKey: v.SortKey(), Tag: v.Tag(), File: chart.FileName(name, version),
		Archive: digest("archive"), Size: 12345, Content: digest("content"), Manifest: digest("manifest"), Config: digest("config"), Publisher: "usr-1", Door: "api",
	}
	metadata := fmt.Appendf(nil, `{"name":%q,"version":%q,"description":%q}`, name, version, strings.Repeat("words of a description ", 25))
	return &release.Claim{
		Release: r, Config: metadata, RequireState: release.ProjectActive, Now: time.Now(),
		Manifest: release.Manifest{Repository: r.Repository(), Digest: r.Manifest, MediaType: "application/vnd.oci.image.manifest.v1+json",
			ArtifactType: "application/vnd.cncf.helm.config.v1+json", Annotations: []byte(`{"a":"b"}`), Bytes: metadata},
		Links:    []release.Link{{Digest: r.Config, Size: int64(len(metadata)), Small: true}, {Digest: r.Archive, Size: r.Size}},
		Fragment: func(time.Time) []byte { return metadata },
		Event: audit.Event{Time: time.Now(), Actor: audit.Actor{Kind: access.KindUser, ID: "usr-1"}, Door: audit.DoorAPI,
			Source: audit.Source{IP: "192.0.2.1", UserAgent: "Helm/4.3.1"}},
	}
}

// bareEngine writes the rows of a claim with plain prepared statements and
// does nothing else: it checks nothing, encodes nothing, and answers no proof.
// Claims that wait are written in one transaction with one signed checkpoint
// for each log.
type bareEngine struct {
	db         *sql.DB
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	postgres   bool
	project    int64
	edges      [3]*tlog.Edge
	signers    [3]note.Signer
	origins    [3]string
	entry      []byte
	queue      chan bareClaim
	ended      chan struct{}
}

type bareClaim struct {
	claim *release.Claim
	done  chan error
}

func newBareEngine(b *testing.B, d database) *bareEngine {
	s := d.open(b, nil)
	p := someProject(b, s)
	keys := storetest.Keys(b)
	e := &bareEngine{
		statements: map[string]*sql.Stmt{}, postgres: d.driver == "pgx", project: p.ID, queue: make(chan bareClaim, 512), ended: make(chan struct{}),
		signers: [3]note.Signer{1: keys.Signer, 2: keys.AuditSigner}, origins: [3]string{1: storetest.Origin, 2: storetest.Origin + "/audit"},
		entry: []byte(strings.Repeat("a line of a leaf, of the length of ours\n", 20)),
	}
	for log := 1; log <= 2; log++ {
		e.edges[log], _ = tlog.NewEdge(0, nil)
	}
	s.Close()
	dsn := d.dsn
	if !e.postgres {
		dsn += "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=cache_size(-32768)&_pragma=wal_autocheckpoint(4000)"
	}
	var err error
	if e.db, err = sql.Open(d.driver, dsn); err != nil {
		b.Fatal(err)
	}
	if e.conn, err = e.db.Conn(context.Background()); err != nil {
		b.Fatal(err)
	}
	d.unguard(b, "leaf", "leaf_keep") // its log begins anew
	exec(b, e.db, "DELETE FROM leaf", "DELETE FROM audit", "DELETE FROM outbox")
	for i := range 100 {
		exec(b, e.db, fmt.Sprintf("INSERT INTO repository (id, project, name) VALUES (%d, %d, 'demo/chart-%03d')", i+1, p.ID, i))
	}
	go e.loop()
	b.Cleanup(func() {
		close(e.queue)
		<-e.ended
		e.conn.Close()
		e.db.Close()
	})
	return e
}

func (e *bareEngine) claim(c *release.Claim) error {
	done := make(chan error, 1)
	e.queue <- bareClaim{c, done}
	return <-done
}

func (e *bareEngine) loop() {
	defer close(e.ended)
	for first := range e.queue {
		batch := []bareClaim{first}
		for more := true; more && len(batch) < 512; {
			select {
			case c, ok := <-e.queue:
				if more = ok; ok {
					batch = append(batch, c)
				}
			default:
				more = false
			}
		}
		err := e.write(batch)
		for _, c := range batch {
			c.done <- err
		}
	}
}

func (e *bareEngine) exec(query string, args ...any) (err error) {
	st := e.statements[query]
	if st == nil {
		text := query
		if e.postgres {
			for n := 1; strings.Contains(text, "?"); n++ {
				text = strings.Replace(text, "?", fmt.Sprintf("$%d", n), 1)
			}
		}
		if st, err = e.conn.PrepareContext(context.Background(), text); err != nil {
			return err
		}
		e.statements[query] = st
	}
	_, err = st.Exec(args...)
	return err
}

func (e *bareEngine) write(batch []bareClaim) (err error) {
	run := func(query string, args ...any) {
		if err == nil {
			err = e.exec(query, args...)
		}
	}
	leaf := func(log int) int64 {
		idx := e.edges[log].Size()
		h := tlog.LeafHash(e.entry)
		run("INSERT INTO leaf (log, idx, hash, entry) VALUES (?, ?, ?, ?)", log, idx, h[:], e.entry)
		for _, t := range e.edges[log].Append(h) {
			run("INSERT INTO tile (log, level, n, hashes, root) VALUES (?, ?, ?, ?, ?)", log, t.Level, t.N, tlog.TileBytes(t.Hashes), t.Root[:])
		}
		return idx
	}
	run("BEGIN")
	for _, bc := range batch {
		c := bc.claim
		r, now := &c.Release, c.Now.UnixMilli()
		index := leaf(1)
		id := index + 1
		repo := 0
		fmt.Sscanf(r.Chart, "chart-%d", &repo)
		repo++
		run("INSERT INTO release (id, project, chart, version, version_key, sort_key, tag, file, archive, size, content, manifest, config, publisher, door, time, legacy, "+
			"fragment, state, generation, provenance) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			id, e.project, r.Chart, r.Version, r.Key, r.SortKey, r.Tag, r.File, r.Archive, r.Size, r.Content, r.Manifest, r.Config, r.Publisher, r.Door, now, 0, c.Config, "active", id, "")
		run("INSERT INTO tag (repository, name, digest, release, hidden) VALUES (?, ?, ?, ?, ?)", repo, r.Tag, r.Manifest, id, 0)
		run("INSERT INTO manifest (repository, digest, media_type, artifact_type, subject, annotations, bytes, visible) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			repo, r.Manifest, c.Manifest.MediaType, c.Manifest.ArtifactType, "", string(c.Manifest.Annotations), c.Manifest.Bytes, 1)
		for _, l := range c.Links {
			run("INSERT INTO link (repository, digest, size, small) VALUES (?, ?, ?, ?)", repo, l.Digest, l.Size, 0)
		}
		run("INSERT INTO blob (digest, bytes) VALUES (?, ?)", r.Config, c.Config)
		idx := leaf(2)
		run("INSERT INTO audit (idx, time, action, outcome, project, chart, version, actor, ip, agent, salt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			idx, now, "release.accepted", "allowed", r.Project, r.Chart, r.Version, "usr-1", "192.0.2.1", "Helm/4.3.1", e.entry[:16])
		run("INSERT INTO outbox (idx) VALUES (?)", idx)
	}
	run("UPDATE project SET generation = generation + 1, changed = ? WHERE id = ?", time.Now().UnixMilli(), e.project)
	for log := 1; log <= 2 && err == nil; log++ {
		root := e.edges[log].Root()
		var checkpoint []byte
		if checkpoint, err = tlog.SignCheckpoint(e.origins[log], e.edges[log].Size(), root, e.signers[log]); err == nil {
			run("UPDATE head SET size = ?, root = ?, checkpoint = ?, time = ? WHERE log = ?", e.edges[log].Size(), root[:], checkpoint, time.Now().UnixMilli(), log)
		}
	}
	run("COMMIT")
	return err
}

// benchStore is a store with releases, 200 projects and 1000 tokens.
func benchStore(b *testing.B, releases int) (*sqlstore.Store, release.Project) {
	b.Helper()
	d := newSQLite(b)
	s := d.open(b, nil)
	project := someProject(b, s)
	for i := range 200 {
		p := project
		p.Name = fmt.Sprintf("team-%d/project", i)
		if _, err := s.CreateProject(context.Background(), p, someone(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.CreateAccount(context.Background(), release.Account{ID: "usr-1", Name: "alice", Kind: release.KindUser}, "", account(), time.Now()); err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		t := release.Token{ID: fmt.Sprint("tok-", i), AccountID: "usr-1", Expires: time.Now().Add(time.Hour),
			Grants: []access.Grant{{ID: fmt.Sprint("grn-", i), Role: access.RoleMaintainer, Project: "demo"}}}
		if err := s.CreateToken(context.Background(), t, [32]byte{1}, account(), time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	publish(64, releases, func(i int) error {
		_, err := s.Claim(context.Background(), benchClaim(project, i))
		return err
	}, b)
	return s, project
}

// BenchmarkRead measures the look-ups of the hot paths in a database of
// 100,000 releases, each time of another row.
func BenchmarkRead(b *testing.B) {
	const releases = 100_000
	s, project := benchStore(b, releases)
	ctx := context.Background()
	for _, read := range []struct {
		name string
		do   func(s *sqlstore.Store, i int) error
	}{
		{"ReleaseByFile", func(s *sqlstore.Store, i int) error {
			_, err := s.ReleaseByFile(ctx, project.ID, fmt.Sprintf("chart-%03d-1.%d.%d.tgz", i%100, i/1000, i))
			return err
		}},
		{"Manifest", func(s *sqlstore.Store, i int) error {
			_, err := s.Manifest(ctx, fmt.Sprintf("demo/chart-%03d", i%100), fmt.Sprintf("1.%d.%d", i/1000, i))
			return err
		}},
		{"BlobLink", func(s *sqlstore.Store, i int) error {
			_, err := s.BlobLink(ctx, fmt.Sprintf("demo/chart-%03d", i%100), benchClaim(project, i).Links[1].Digest)
			return err
		}},
		{"ProjectFor", func(s *sqlstore.Store, i int) error {
			_, err := s.ProjectFor(ctx, fmt.Sprintf("team-%d/project/chart", i%200))
			return err
		}},
		{"TokenByID", func(s *sqlstore.Store, i int) error {
			_, err := s.TokenByID(ctx, fmt.Sprint("tok-", i%1000))
			return err
		}},
		{"Prove", func(s *sqlstore.Store, i int) error {
			_, err := s.Prove(ctx, int64(i))
			return err
		}},
		{"LogInfo", func(s *sqlstore.Store, _ int) error {
			_, err := s.LogInfo(ctx)
			return err
		}},
	} {
		for _, warm := range []bool{false, true} {
			name := read.name + "/first"
			if warm {
				name = read.name + "/again"
			}
			b.Run(name, func(b *testing.B) {
				i := 0
				before := cpuTime(b)
				for b.Loop() {
					at := i * 7919 % releases // each row once before any comes again
					if warm {
						at = i % 1000
					}
					if err := read.do(s, at); err != nil {
						b.Fatal(err)
					}
					i++
				}
				b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(i), "cpu-ns/op")
			})
		}
	}
}

func account() audit.Event {
	ev := someone()
	ev.Name = audit.AccountCreated
	return ev
}
