package release_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.cncf.helm.config.v1+json"
	chartType    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	provType     = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

func sum512(b []byte) string {
	h := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(h[:])
}

// part is a descriptor of a manifest.
type part struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func of(mediaType string, b []byte) part { return part{mediaType, sum(b), len(b)} }

// document is a manifest.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *part             `json:"config,omitempty"`
	Layers        []part            `json:"layers"`
	Subject       *part             `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func (d document) bytes() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return b
}

// ociChart is what Helm pushes.
type ociChart struct {
	archive, config, prov []byte
	doc                   document
}

func newOCIChart(t testing.TB, name, version string) *ociChart {
	c := &ociChart{archive: charttest.Build(t, name, version, nil)}
	c.config = fmt.Appendf(nil, `{"name":%q,"version":%q,"apiVersion":"v2"}`, name, version)
	config := of(configType, c.config)
	c.doc = document{SchemaVersion: 2, MediaType: manifestType, Config: &config, Layers: []part{of(chartType, c.archive)}}
	return c
}

func (r *registry) putBlob(repo string, b []byte) {
	r.Helper()
	r.ok(r.PutBlob(r.ctx, r.admin, repo, bytes.NewReader(b), sum(b)))
}

func (r *registry) putChart(repo, tag string, c *ociChart) (release.ManifestResult, error) {
	r.Helper()
	r.putBlob(repo, c.archive)
	r.putBlob(repo, c.config)
	if c.prov != nil {
		r.putBlob(repo, c.prov)
	}
	return r.put(repo, tag, c.doc.bytes())
}

func (r *registry) put(repo, tag string, body []byte) (release.ManifestResult, error) {
	return r.PutManifest(r.ctx, through(r.admin, audit.DoorOCI), repo, release.ManifestRef{Tags: []string{tag}}, manifestType, body)
}

func TestOCIPush(t *testing.T) {
	r := newRegistry(t)
	c := newOCIChart(t, "web", "1.0.0+build.1")
	c.prov = provenance("web", "1.0.0+build.1", c.archive, 1)
	c.doc.Layers = append(c.doc.Layers, of(provType, c.prov))
	res, err := r.putChart("demo/web", "1.0.0_build.1", c)
	r.ok(err)
	r.proven(res.Receipt)
	rel := res.Receipt.Release
	if res.Digest != sum(c.doc.bytes()) || rel.Manifest != res.Digest || rel.Version != "1.0.0+build.1" || rel.Door != "oci" || rel.Provenance != sum(c.prov) {
		t.Fatalf("got %+v", res)
	}
	// It is served through every door, as it came.
	for _, ref := range []string{"1.0.0_build.1", res.Digest} {
		m, err := r.GetManifest(r.ctx, r.admin, "demo/web", ref)
		r.ok(err)
		if !bytes.Equal(m.Bytes, c.doc.bytes()) || m.MediaType != manifestType || m.Release == nil {
			t.Fatalf("manifest %+v", m)
		}
	}
	got, err := r.served(r.admin, "demo", "web-1.0.0+build.1.tgz")
	r.ok(err)
	if !bytes.Equal(got, c.archive) {
		t.Fatal("other bytes are served")
	}
	_, prov, err := r.Provenance(r.ctx, r.admin, "demo", "web-1.0.0+build.1.tgz.prov")
	r.ok(err)
	if !bytes.Equal(prov, c.prov) {
		t.Fatal("another provenance is served")
	}
	if ix := r.index(r.admin, "demo", false); len(ix) != 1 || ix[0] != "web 1.0.0+build.1 "+sum(c.archive) {
		t.Fatalf("index %v", ix)
	}

	// The same again is unchanged; the same chart under another manifest is not.
	res, err = r.putChart("demo/web", "1.0.0_build.1", c)
	r.ok(err)
	if !res.Receipt.Unchanged {
		t.Fatal("released twice")
	}
	c.doc.Annotations = map[string]string{"org.opencontainers.image.created": "later"}
	_, err = r.putChart("demo/web", "1.0.0_build.1", c)
	if p := r.refused(err, problem.Immutable, "identical"); factOf(p, "released manifest") != rel.Manifest {
		t.Errorf("facts %v", p.Facts)
	}
	// Through another door it is.
	receipt, err := r.push("demo", c.archive, nil)
	r.ok(err)
	if !receipt.Unchanged || receipt.Release.Manifest != rel.Manifest {
		t.Fatalf("got %+v", receipt)
	}
	_, err = r.putChart("demo/web", "1.0.0_build.1", func() *ociChart {
		other := newOCIChart(t, "web", "1.0.0+build.1")
		other.archive = charttest.Build(t, "web", "1.0.0+build.1", map[string]string{"x": "y"})
		other.doc.Layers = []part{of(chartType, other.archive)}
		return other
	}())
	r.refused(err, problem.Immutable, "overwrite")
	_, err = r.putChart("demo/web", "1.0.0_build.2", newOCIChart(t, "web", "1.0.0+build.2"))
	r.refused(err, problem.Immutable, "build-metadata")
}

func TestOCIByDigest(t *testing.T) {
	r := newRegistry(t)
	c := newOCIChart(t, "web", "1.0.0")
	r.putBlob("demo/web", c.archive)
	r.putBlob("demo/web", c.config)
	body := c.doc.bytes()
	res, err := r.PutManifest(r.ctx, r.admin, "demo/web", release.ManifestRef{Digest: sum(body)}, manifestType, body)
	r.ok(err)
	if res.Receipt != nil {
		t.Fatal("a manifest without a tag released something")
	}
	reader := r.robot("reader", access.Grant{Role: access.RoleReader, Project: "demo"})
	_, err = r.GetManifest(r.ctx, reader, "demo/web", sum(body))
	r.refused(err, problem.NotFound, "manifest-unknown")
	if m, err := r.GetManifest(r.ctx, r.admin, "demo/web", sum(body)); err != nil || !bytes.Equal(m.Bytes, body) {
		t.Fatalf("its publisher reads %+v, %v", m, err)
	}
	r.nothing("demo")
	res, err = r.put("demo/web", "1.0.0", body)
	r.ok(err)
	if res.Receipt == nil || res.Receipt.Release.Manifest != sum(body) {
		t.Fatalf("got %+v", res)
	}
	_, err = r.GetManifest(r.ctx, reader, "demo/web", sum(body))
	r.ok(err)
}

func TestOCIRefusals(t *testing.T) {
	r := newRegistry(t)
	for name, c := range map[string]struct {
		repo, tag string
		change    func(*ociChart)
		kind      problem.Kind
		rule      string
	}{
		"other tag":           {tag: "1.0.1", kind: problem.Invalid, rule: "tag-mismatch"},
		"latest":              {tag: "latest", kind: problem.Invalid, rule: "tag-mismatch"},
		"not a tag":           {tag: "a b", kind: problem.Invalid, rule: "tag"},
		"other repository":    {repo: "demo/other", kind: problem.Invalid, rule: "repository-mismatch"},
		"deeper repository":   {repo: "demo/charts/web", kind: problem.Invalid, rule: "repository-mismatch"},
		"repository's name":   {repo: "demo/Web", kind: problem.Invalid, rule: "repository-name"},
		"no blob":             {change: func(c *ociChart) { c.doc.Layers[0].Digest = sum([]byte("x")) }, kind: problem.Invalid, rule: "manifest-blob-unknown"},
		"wrong size":          {change: func(c *ociChart) { c.doc.Layers[0].Size++ }, kind: problem.Invalid, rule: "manifest-invalid"},
		"negative size":       {change: func(c *ociChart) { c.doc.Layers[0].Size = -1 }, kind: problem.Invalid, rule: "manifest-invalid"},
		"two charts":          {change: func(c *ociChart) { c.doc.Layers = append(c.doc.Layers, c.doc.Layers[0]) }, kind: problem.Invalid, rule: "manifest-invalid"},
		"no chart":            {change: func(c *ociChart) { c.doc.Layers = nil }, kind: problem.Invalid, rule: "manifest-invalid"},
		"strange layer":       {change: func(c *ociChart) { c.doc.Layers = append(c.doc.Layers, of("text/plain", c.config)) }, kind: problem.Invalid, rule: "manifest-invalid"},
		"subject":             {change: func(c *ociChart) { s := of(manifestType, c.config); c.doc.Subject = &s }, kind: problem.Invalid, rule: "manifest-invalid"},
		"not a digest":        {change: func(c *ociChart) { c.doc.Layers[0].Digest = "sha256:../../etc" }, kind: problem.Invalid, rule: "manifest-invalid"},
		"other media type":    {change: func(c *ociChart) { c.doc.MediaType = "application/json" }, kind: problem.Invalid, rule: "manifest-invalid"},
		"header in a type":    {change: func(c *ociChart) { c.doc.ArtifactType = "a/b\r\nSet-Cookie: x" }, kind: problem.Invalid, rule: "manifest-invalid"},
		"endless type":        {change: func(c *ociChart) { c.doc.ArtifactType = strings.Repeat("a", 300) }, kind: problem.Invalid, rule: "manifest-invalid"},
		"config of another":   {change: func(c *ociChart) { c.setConfig(`{"name":"web","version":"1.0.1"}`) }, kind: problem.Invalid, rule: "config-mismatch"},
		"config is not JSON":  {change: func(c *ociChart) { c.setConfig(`not JSON`) }, kind: problem.Invalid, rule: "config-mismatch"},
		"config is large":     {change: func(c *ociChart) { c.setConfig(strings.Repeat(" ", 2<<20)) }, kind: problem.TooLarge, rule: "blob-size"},
		"archive is no chart": {change: func(c *ociChart) { c.setArchive([]byte("not gzip")) }, kind: problem.Invalid, rule: "archive-gzip"},
		"lax version":         {tag: "v1.0.0", change: func(c *ociChart) { *c = *newOCIChart(t, "web", "v1.0.0") }, kind: problem.Invalid, rule: "chart-version"},
		"another's prov": {change: func(c *ociChart) {
			c.prov = provenance("web", "1.0.0", []byte("x"), 1)
			c.doc.Layers = append(c.doc.Layers, of(provType, c.prov))
		}, kind: problem.Invalid, rule: "provenance-digest"},
		"two provs": {change: func(c *ociChart) {
			c.prov = provenance("web", "1.0.0", c.archive, 1)
			c.doc.Layers = append(c.doc.Layers, of(provType, c.prov), of(provType, c.prov))
		}, kind: problem.Invalid, rule: "manifest-invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			r := r.in(t)
			chart := newOCIChart(t, "web", "1.0.0")
			if c.change != nil {
				c.change(chart)
			}
			repo, tag := "demo/web", "1.0.0"
			if c.repo != "" {
				repo = c.repo
			}
			if c.tag != "" {
				tag = c.tag
			}
			if repo != "demo/Web" {
				r.putBlob(repo, chart.archive)
				r.putBlob(repo, chart.config)
				if chart.prov != nil {
					r.putBlob(repo, chart.prov)
				}
			}
			_, err := r.put(repo, tag, chart.doc.bytes())
			if p, ok := problem.As(err); !ok || p.Kind != c.kind || p.Rule != c.rule {
				t.Errorf("got %v (kind %s, rule %q), want kind %s, rule %q", err, problem.KindOf(err), ruleOf(err), c.kind, c.rule)
			}
			r.nothing("demo")
			if _, err := r.GetManifest(r.ctx, r.admin, "demo/web", "1.0.0"); problem.KindOf(err) != problem.NotFound {
				t.Errorf("the tag is there: %v", err)
			}
		})
	}
	body := newOCIChart(t, "web", "1.0.0").doc.bytes()
	_, err := r.PutManifest(r.ctx, r.admin, "demo/web", release.ManifestRef{Digest: sum([]byte("x"))}, manifestType, body)
	r.refused(err, problem.Invalid, "digest-mismatch")
	for name, body := range map[string][]byte{"no JSON": []byte("{"), "a list": []byte("[]"), "types": []byte(`{"layers":"x"}`)} {
		if _, err := r.put("demo/web", "x", body); ruleOf(err) != "manifest-invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = r.put("demo/web", "x", make([]byte, release.MaxManifest+1))
	r.refused(err, problem.TooLarge, "manifest-size")
}

func (c *ociChart) setConfig(text string) {
	c.config = []byte(text)
	config := of(configType, c.config)
	c.doc.Config = &config
}

func (c *ociChart) setArchive(b []byte) {
	c.archive = b
	c.doc.Layers = []part{of(chartType, b)}
}

// TestOCIOther puts what is no chart into a project of charts: signatures and
// the like, which never take a version's name and never go away.
func TestOCIOther(t *testing.T) {
	r := newRegistry(t)
	_, rel := r.released("demo", "web", "1.0.0")
	signature := func(parts ...string) []byte {
		d := document{SchemaVersion: 2, MediaType: manifestType, ArtifactType: "application/vnd.dev.cosign.signature"}
		for _, p := range parts {
			r.putBlob("demo/web", []byte(p))
			d.Layers = append(d.Layers, of("text/plain", []byte(p)))
		}
		return d.bytes()
	}
	for _, tag := range []string{"1.0.0", "1.0.1", "v1.0.1", "1.0", "v2", "1.0.0_x"} {
		if _, err := r.put("demo/web", tag, signature("one")); ruleOf(err) != "tag-version" {
			t.Errorf("tag %s: %v", tag, err)
		}
	}
	sig := "sha256-" + strings.TrimPrefix(rel.Manifest, "sha256:") + ".sig"
	for _, grown := range [][]string{{"one"}, {"one", "two"}} {
		res, err := r.put("demo/web", sig, signature(grown...))
		r.ok(err)
		m, err := r.GetManifest(r.ctx, r.admin, "demo/web", sig)
		r.ok(err)
		if m.Digest != res.Digest || m.Release != nil {
			t.Fatalf("got %+v", m)
		}
	}
	_, err := r.put("demo/web", sig, signature("two"))
	r.refused(err, problem.Immutable, "tag-move")
	_, err = r.put("demo/web", "notes", signature("one"))
	r.ok(err)
	_, err = r.put("demo/web", "notes", signature("one", "two")) // only lists of signatures grow
	r.refused(err, problem.Immutable, "tag-move")
	_, err = r.PutManifest(r.ctx, r.admin, "demo/web", release.ManifestRef{Tags: []string{"fresh", "notes"}}, manifestType, signature("one", "two"))
	r.refused(err, problem.Immutable, "tag-move")
	if _, err := r.GetManifest(r.ctx, r.admin, "demo/web", "fresh"); problem.KindOf(err) != problem.NotFound {
		t.Errorf("one of two tags was set: %v", err)
	}

	d := document{SchemaVersion: 2, MediaType: manifestType, ArtifactType: "application/vnd.example", Layers: []part{}}
	subject := part{manifestType, rel.Manifest, 1}
	d.Subject, d.Annotations = &subject, map[string]string{"k": "v"}
	res, err := r.PutManifest(r.ctx, r.admin, "demo/web", release.ManifestRef{Digest: sum(d.bytes())}, manifestType, d.bytes())
	r.ok(err)
	if res.Subject != rel.Manifest {
		t.Errorf("subject %s", res.Subject)
	}
	list, err := r.Referrers(r.ctx, r.admin, "demo/web", rel.Manifest, "")
	r.ok(err)
	if len(list) != 1 || list[0].Digest != res.Digest || list[0].Annotations["k"] != "v" {
		t.Errorf("referrers %+v", list)
	}
	list, err = r.Referrers(r.ctx, r.admin, "demo/web", rel.Manifest, "application/vnd.other")
	r.ok(err)
	if len(list) != 0 {
		t.Errorf("referrers %+v", list)
	}
	for _, ref := range []string{"1.0.0", rel.Manifest, sig, "notes", res.Digest} {
		p := r.refused(r.DeleteManifest(r.ctx, r.admin, "demo/web", ref), problem.Unsupported, "delete")
		if !strings.Contains(p.Try, "chartkeep yank demo/web@") || r.lastEvent().Name != audit.DeleteRefused {
			t.Errorf("delete of %s: %+v, event %s", ref, p, r.lastEvent().Name)
		}
	}
	r.refused(r.DeleteBlob(r.ctx, r.admin, "demo/web", rel.Archive), problem.Unsupported, "delete")
	tags, more, err := r.Tags(r.ctx, r.admin, "demo/web", "", 2)
	r.ok(err)
	if !more || len(tags) != 2 || tags[0] != "1.0.0" {
		t.Errorf("tags %v, more %t", tags, more)
	}
}

func TestArtifacts(t *testing.T) {
	r := newRegistry(t)
	r.project("plain", release.ProjectOptions{Kind: release.KindArtifacts, Public: true})
	c := newOCIChart(t, "web", "1.0.0")
	_, err := r.putChart("plain/web", "1.0.0", c)
	r.refused(err, problem.Policy, "project-kind")
	image := func(text string) []byte {
		r.putBlob("plain/app", []byte(text))
		config := of("application/vnd.oci.image.config.v1+json", []byte(text))
		return document{SchemaVersion: 2, Config: &config, Layers: []part{}}.bytes()
	}
	one, two := image("one"), image("two")
	for _, body := range [][]byte{one, two} {
		_, err := r.put("plain/app", "latest", body)
		r.ok(err)
		m, err := r.GetManifest(r.ctx, anybody, "plain/app", "latest")
		r.ok(err)
		if !bytes.Equal(m.Bytes, body) || m.ArtifactType != "application/vnd.oci.image.config.v1+json" {
			t.Fatalf("got %+v", m)
		}
	}
	res, err := r.PutManifest(r.ctx, r.admin, "plain/app", release.ManifestRef{Digest: sum512(one), Tags: []string{"1.0", "1.0.0", "v1"}}, manifestType, one)
	r.ok(err)
	if res.Digest != sum512(one) || len(res.Tags) != 3 {
		t.Fatalf("got %+v", res)
	}
	tags, _, err := r.Tags(r.ctx, anybody, "plain/app", "", 0)
	r.ok(err)
	if strings.Join(tags, " ") != "1.0 1.0.0 latest v1" {
		t.Errorf("tags %v", tags)
	}
	r.refused(r.DeleteManifest(r.ctx, anybody, "plain/app", "latest"), problem.Unauthenticated, "sign-in-required")
	publisher := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "plain"})
	r.refused(r.DeleteManifest(r.ctx, publisher, "plain/app", "latest"), problem.Denied, "access-denied")
	r.refused(r.DeleteManifest(r.ctx, r.admin, "plain/app", "a\x00b"), problem.Invalid, "tag")
	r.ok(r.DeleteManifest(r.ctx, r.admin, "plain/app", "latest"))
	r.ok(r.DeleteManifest(r.ctx, r.admin, "plain/app", sum(two)))
	r.refused(r.DeleteManifest(r.ctx, r.admin, "plain/app", sum(two)), problem.NotFound, "manifest-unknown")
	_, err = r.GetManifest(r.ctx, r.admin, "plain/app", "latest")
	r.refused(err, problem.NotFound, "manifest-unknown")
	r.ok(r.DeleteBlob(r.ctx, r.admin, "plain/app", sum([]byte("two"))))
	_, err = r.OpenBlob(r.ctx, r.admin, "plain/app", sum([]byte("two")))
	r.refused(err, problem.NotFound, "blob-unknown")
	for _, none := range []func() error{
		func() error { _, err := r.Index(r.ctx, r.admin, "plain", false); return err },
		func() error { _, _, err := r.Charts(r.ctx, r.admin, "plain", "", 1); return err },
	} {
		r.refused(none(), problem.NotFound, "project-kind")
	}
	_, _, err = r.Tags(r.ctx, r.admin, "plain/none", "", 0)
	r.refused(err, problem.NotFound, "repository-unknown")
}

func TestUploads(t *testing.T) {
	r := newRegistry(t)
	r.project("plain", release.ProjectOptions{Kind: release.KindArtifacts})
	content := bytes.Repeat([]byte("0123456789"), 20_000)
	id, err := r.StartUpload(r.ctx, r.admin, "plain/app")
	r.ok(err)
	_, err = r.AppendUpload(r.ctx, r.admin, "plain/app", id, 0, brokenReader{bytes.NewReader(content[:70_000])})
	if err == nil {
		t.Fatal("a broken connection is no error")
	}
	at, err := r.UploadSize(r.ctx, r.admin, "plain/app", id)
	r.ok(err)
	if at != 70_000 {
		t.Fatalf("the upload stands at %d", at)
	}
	for _, wrong := range []int64{0, 69_999, 70_001, 1 << 40} {
		at, err := r.AppendUpload(r.ctx, r.admin, "plain/app", id, wrong, bytes.NewReader(content))
		r.refused(err, problem.Conflict, "upload-range")
		if at != 70_000 {
			t.Fatalf("told to go on at %d", at)
		}
	}
	at, err = r.AppendUpload(r.ctx, r.admin, "plain/app", id, 70_000, bytes.NewReader(content[70_000:150_000]))
	r.ok(err)
	if at != 150_000 {
		t.Fatalf("the upload stands at %d", at)
	}
	// An upload belongs to one repository, and its id cannot be guessed.
	for repo, id := range map[string]string{"plain/other": id, "plain/app": id[:len(id)-1] + "x", "demo/web": "x", "demo/app": ""} {
		_, err := r.UploadSize(r.ctx, r.admin, repo, id)
		r.refused(err, problem.NotFound, "upload-unknown")
		r.refused(r.CancelUpload(r.ctx, r.admin, repo, id), problem.NotFound, "upload-unknown")
	}
	r.refused(r.FinishUpload(r.ctx, r.admin, "plain/app", id, -1, bytes.NewReader(nil), "sha256:x"), problem.Invalid, "digest-form")
	r.ok(r.FinishUpload(r.ctx, r.admin, "plain/app", id, 150_000, bytes.NewReader(content[150_000:]), sum512(content)))
	b, err := r.OpenBlob(r.ctx, r.admin, "plain/app", sum512(content))
	r.ok(err)
	defer b.Close()
	r.ok(b.RangeOK())
	piece := make([]byte, 10)
	if _, err := b.ReadAt(piece, 100_000); err != nil || string(piece) != "0123456789" {
		t.Fatalf("got %q, %v", piece, err)
	}
	_, err = r.UploadSize(r.ctx, r.admin, "plain/app", id)
	if problem.KindOf(err) != problem.NotFound {
		t.Fatalf("a finished upload goes on: %v", err)
	}

	for _, size := range []int{0, 1, 100, 100_000} {
		body := content[:size]
		err := r.PutBlob(r.ctx, r.admin, "plain/app", bytes.NewReader(body), sum([]byte("x")))
		r.refused(err, problem.Invalid, "digest-mismatch")
		r.ok(r.PutBlob(r.ctx, r.admin, "plain/app", bytes.NewReader(body), sum(body)))
		n, err := r.StatBlob(r.ctx, r.admin, "plain/app", sum(body))
		r.ok(err)
		b, err := r.OpenBlob(r.ctx, r.admin, "plain/app", sum(body))
		r.ok(err)
		var buf bytes.Buffer
		if _, err := b.WriteTo(&buf); err != nil || !bytes.Equal(buf.Bytes(), body) || n != int64(size) || b.Size() != n {
			t.Fatalf("blob of %d bytes: %d stated, %d read, %v", size, n, buf.Len(), err)
		}
		b.Close()
	}
	id, err = r.StartUpload(r.ctx, r.admin, "plain/app")
	r.ok(err)
	r.ok(r.CancelUpload(r.ctx, r.admin, "plain/app", id))
	if n, err := r.sweepable(); err != nil || n != 0 {
		t.Errorf("%d uploads were left behind, %v", n, err)
	}
}

// TestUploadSlots begins uploads and never ends them.
func TestUploadSlots(t *testing.T) {
	r := newRegistry(t)
	other := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "demo"})
	var ids []string
	for {
		id, err := r.StartUpload(r.ctx, r.admin, "demo/web")
		if err != nil {
			r.refused(err, problem.Unavailable, "uploads")
			break
		}
		ids = append(ids, id)
		if len(ids) > 5000 {
			t.Fatal("uploads have no bound")
		}
	}
	_, err := r.StartUpload(r.ctx, other, "demo/web") // nobody pays for another
	r.ok(err)
	r.ok(r.CancelUpload(r.ctx, r.admin, "demo/web", ids[0]))
	r.ok(r.FinishUpload(r.ctx, r.admin, "demo/web", ids[1], -1, bytes.NewReader([]byte("x")), sum([]byte("x"))))
	for range 2 {
		_, err := r.StartUpload(r.ctx, r.admin, "demo/web")
		r.ok(err)
	}
	_, err = r.StartUpload(r.ctx, r.admin, "demo/web")
	r.refused(err, problem.Unavailable, "uploads")
	r.now = r.now.Add(release.UploadLife + time.Minute)
	r.ok(r.Maintain(r.ctx))
	r.admin.Principal.Expires = time.Time{}
	_, err = r.StartUpload(r.ctx, r.admin, "demo/web")
	r.ok(err)
}

func TestMount(t *testing.T) {
	r := newRegistry(t)
	r.project("plain", release.ProjectOptions{Kind: release.KindArtifacts})
	r.project("secret", release.ProjectOptions{Kind: release.KindArtifacts})
	small, large := []byte("small"), bytes.Repeat([]byte("large"), 20_000)
	for _, b := range [][]byte{small, large} {
		r.putBlob("secret/app", b)
	}
	outsider := r.robot("ci", access.Grant{Role: access.RolePublisher, Project: "plain"})
	for _, from := range []string{"secret/app", "", "secret/none", "none/none", "Not A Name"} {
		for _, b := range [][]byte{small, large} {
			mounted, err := r.MountBlob(r.ctx, outsider, "plain/app", sum(b), from)
			r.ok(err)
			if mounted {
				t.Errorf("somebody mounted from %q what it may not read", from)
			}
			if _, err := r.StatBlob(r.ctx, outsider, "plain/app", sum(b)); problem.KindOf(err) != problem.NotFound {
				t.Errorf("the blob is there: %v", err)
			}
		}
	}
	for _, b := range [][]byte{small, large} {
		mounted, err := r.MountBlob(r.ctx, r.admin, "plain/app", sum(b), "secret/app")
		r.ok(err)
		if !mounted {
			t.Fatal("not mounted")
		}
		f, err := r.OpenBlob(r.ctx, outsider, "plain/app", sum(b))
		r.ok(err)
		var buf bytes.Buffer
		if _, err := f.WriteTo(&buf); err != nil || !bytes.Equal(buf.Bytes(), b) {
			t.Fatalf("read %d bytes, %v", buf.Len(), err)
		}
		f.Close()
		mounted, err = r.MountBlob(r.ctx, outsider, "plain/deeper/app", sum(b), "") // now some repository that it may read has it
		r.ok(err)
		if !mounted {
			t.Error("not found among the repositories that hold it")
		}
	}
	_, err := r.MountBlob(r.ctx, outsider, "secret/other", sum(small), "plain/app")
	r.refused(err, problem.NotFound, access.RuleHidden)
	_, err = r.MountBlob(r.ctx, r.admin, "plain/app", "sha256:x", "")
	r.refused(err, problem.Invalid, "digest-form")
}

func TestCatalog(t *testing.T) {
	r := newRegistry(t)
	r.project("open", release.ProjectOptions{Public: true})
	r.project("gone", release.ProjectOptions{Public: true})
	for _, project := range []string{"demo", "open", "gone"} {
		for _, name := range []string{"a", "b", "c"} {
			r.released(project, name, "1.0.0")
		}
	}
	r.ok(r.RemoveProject(r.ctx, r.admin, "gone", "test"))
	all := func(c release.Caller, limit int) string {
		var out []string
		for after, more := "", true; more; {
			page, again, err := r.Catalog(r.ctx, c, after, limit)
			r.ok(err)
			if len(page) > limit || again && len(page) == 0 {
				t.Fatalf("page %v, limit %d, more %t", page, limit, again)
			}
			out, more = append(out, page...), again
			if len(page) > 0 {
				after = page[len(page)-1]
			}
		}
		return strings.Join(out, " ")
	}
	for _, limit := range []int{1, 2, 3, 100} {
		if got := all(r.admin, limit); got != "demo/a demo/b demo/c open/a open/b open/c" {
			t.Errorf("limit %d: %s", limit, got)
		}
		if got := all(anybody, limit); got != "open/a open/b open/c" {
			t.Errorf("anybody, limit %d: %s", limit, got)
		}
	}
}

// Blob readers are io.WriterTo; nothing else here reads them.
var _ io.WriterTo = release.Blob(nil)
