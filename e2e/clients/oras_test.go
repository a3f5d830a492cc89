package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart/charttest"
	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

// login lets ORAS and Helm, which find it in the same place, use a token.
func (sh *shell) login(s *site, token string) {
	sh.t.Helper()
	sh.do("oras", "login", s.Addr, "-u", "x", "-p", token, "--plain-http")
	sh.do("helm4", "registry", "login", s.Addr, "-u", "x", "-p", token, "--plain-http")
}

// referrers are what ORAS discovers, by artifact type.
func (sh *shell) referrers(ref string, args ...string) map[string]int {
	sh.t.Helper()
	out := sh.do("oras", append([]string{"discover", ref, "--plain-http", "--format", "json"}, args...)...)
	var doc struct {
		Manifests []struct{ ArtifactType string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		sh.t.Fatalf("discover: %v: %s", err, out)
	}
	found := map[string]int{}
	for _, m := range doc.Manifests {
		found[m.ArtifactType]++
	}
	return found
}

func same(got, want map[string]int) bool { return fmt.Sprint(got) == fmt.Sprint(want) }

// TestORASReferrers attaches to a chart, finds what was attached, and copies
// the chart with all of it to another project, where it is a release of its own.
func TestORASReferrers(t *testing.T) {
	s, sh := newSite(t, daemontest.Options{}), newShell(t)
	for _, p := range []string{"staging", "production"} {
		s.project(client.NewProject{Name: p})
	}
	archive := charttest.Build(t, "app", "1.0.0", nil)
	rel := s.push("staging", archive)
	ref := s.Addr + "/staging/app:1.0.0"
	sh.write("sbom.json", []byte(`{"spdxVersion":"SPDX-2.3"}`))
	sh.write("scan.json", []byte(`{"findings":0}`))
	sh.login(s, s.token("staging", "reader"))
	sh.fail([]string{"denied"}, "oras", "attach", ref, "--artifact-type", "application/spdx+json", "sbom.json", "--plain-http")
	sh.login(s, s.Admin)
	sh.do("oras", "attach", ref, "--artifact-type", "application/spdx+json", "sbom.json", "--plain-http")
	sh.do("oras", "attach", ref, "--artifact-type", "application/vnd.example.scan", "scan.json", "--plain-http", "-a", "scanner=example")
	all := map[string]int{"application/spdx+json": 1, "application/vnd.example.scan": 1}
	if got := sh.referrers(ref); !same(got, all) {
		t.Errorf("discovered %v, want %v", got, all)
	}
	if got := sh.referrers(ref, "--artifact-type", "application/spdx+json"); !same(got, map[string]int{"application/spdx+json": 1}) {
		t.Errorf("discovered with a filter: %v", got)
	}
	// What is attached changes neither the release nor its tag.
	if now, err := s.api.Release(t.Context(), "staging", "app", "1.0.0"); err != nil || now.Manifest != rel.Manifest {
		t.Errorf("after attaching: %+v, %v", now, err)
	}
	if out := sh.do("oras", "repo", "tags", s.Addr+"/staging/app", "--plain-http"); strings.TrimSpace(out) != "1.0.0" {
		t.Errorf("tags after attaching: %q", out)
	}
	sh.fail([]string{"nothing that was released in project staging can be deleted"}, "oras", "manifest", "delete", "-f", ref, "--plain-http")

	to := s.Addr + "/production/app:1.0.0"
	sh.do("oras", "cp", "-r", ref, to, "--from-plain-http", "--to-plain-http")
	if got := sh.referrers(to); !same(got, all) {
		t.Errorf("copied: %v, want %v", got, all)
	}
	copied, err := s.api.Release(t.Context(), "production", "app", "1.0.0")
	if err != nil || copied.Digest != sum(archive) || copied.Manifest != rel.Manifest || copied.LogIndex == rel.LogIndex {
		t.Errorf("copied release: %+v, %v", copied, err)
	}
	sh.do("helm4", "pull", "oci://"+s.Addr+"/production/app", "--version", "1.0.0", "--plain-http")
	want(t, "the copy", sh.read("app-1.0.0.tgz"), archive)
	// Copied again, nothing moves.
	sh.do("oras", "cp", "-r", ref, to, "--from-plain-http", "--to-plain-http")
	// Another chart under the same version is refused there as everywhere.
	s.project(client.NewProject{Name: "fork"})
	s.push("fork", charttest.Build(t, "app", "1.0.0", map[string]string{"values.yaml": "evil: true\n"}))
	sh.fail([]string{"release production/app@1.0.0 is there already and cannot be replaced", sum(archive)}, "oras", "cp", s.Addr+"/fork/app:1.0.0", to, "--from-plain-http", "--to-plain-http")
	// Nor is a version taken by what is no chart, however it is spelled.
	for _, tag := range []string{"2.0.0", "v2.0.0", "2.0", "v2", "2.0.0_build.1"} {
		sh.fail([]string{"is a version, and in project production only Helm charts have versions"}, "oras", "push", s.Addr+"/production/app:"+tag, "sbom.json", "--artifact-type", "application/spdx+json", "--plain-http")
	}
}

// TestORASArtifacts is a plain OCI project: tags move and deletes are allowed,
// and charts stay out.
func TestORASArtifacts(t *testing.T) {
	s, sh := newSite(t, daemontest.Options{}), newShell(t)
	s.project(client.NewProject{Name: "tools", Kind: "artifacts"})
	sh.login(s, s.Admin)
	ref := s.Addr + "/tools/cli:latest"
	for _, version := range []string{"one", "two"} {
		sh.write("tool", []byte(version))
		sh.do("oras", "push", ref, "tool", "--artifact-type", "application/vnd.example.tool", "--plain-http")
		sh.read("tool")
		sh.do("oras", "pull", ref, "--plain-http")
		want(t, version, sh.read("tool"), []byte(version))
	}
	sh.do("oras", "tag", ref, "1.0.0", "v1", "--plain-http")
	if out := sh.do("oras", "repo", "tags", s.Addr+"/tools/cli", "--plain-http"); strings.Join(strings.Fields(out), " ") != "1.0.0 latest v1" {
		t.Errorf("tags: %q", out)
	}
	if out := sh.do("oras", "repo", "ls", s.Addr, "--plain-http"); !strings.Contains(out, "tools/cli") {
		t.Errorf("catalog: %q", out)
	}
	sh.write("sbom.json", []byte("{}"))
	sh.do("oras", "attach", s.Addr+"/tools/cli:v1", "sbom.json", "--artifact-type", "application/spdx+json", "--plain-http")
	sh.do("oras", "manifest", "delete", "-f", s.Addr+"/tools/cli:v1", "--plain-http")
	sh.fail([]string{"not found"}, "oras", "pull", s.Addr+"/tools/cli:1.0.0", "--plain-http")
	sh.fail([]string{"takes no charts"}, "helm4", "push", sh.write("app-1.0.0.tgz", charttest.Build(t, "app", "1.0.0", nil)), "oci://"+s.Addr+"/tools", "--plain-http")
}

// repository is ORAS's library on one repository.
func (s *site) repository(name, token string) *remote.Repository {
	s.t.Helper()
	repo, err := remote.NewRepository(s.Addr + "/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	repo.PlainHTTP = true
	repo.Client = &auth.Client{Client: s.HTTP, Cache: auth.NewCache(), Credential: auth.StaticCredential(s.Addr, auth.Credential{Username: "x", Password: token})}
	return repo
}

// signature pushes a signature as cosign does: one layer, in a manifest whose
// subject is what was signed.
func signature(t *testing.T, repo *remote.Repository, subject ocispec.Descriptor, artifactType string, layer []byte) ocispec.Descriptor {
	t.Helper()
	ctx := t.Context()
	blob := content.NewDescriptorFromBytes(artifactType, layer)
	if err := repo.Blobs().Push(ctx, blob, bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	desc, err := oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, artifactType, oras.PackManifestOptions{Subject: &subject, Layers: []ocispec.Descriptor{blob}})
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// TestSignatures attaches signatures to a chart in both of cosign's ways.
func TestSignatures(t *testing.T) {
	s, sh := newSite(t, daemontest.Options{}), newShell(t)
	ctx := t.Context()
	s.project(client.NewProject{Name: "signed"})
	archive := charttest.Build(t, "app", "1.0.0", nil)
	rel := s.push("signed", archive)
	repo := s.repository("signed/app", s.Admin)
	chart, err := repo.Resolve(ctx, "1.0.0")
	if err != nil || chart.Digest.String() != rel.Manifest {
		t.Fatalf("resolve: %v, %v", chart, err)
	}

	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	first := signature(t, repo, chart, bundle, []byte(`{"signature":1}`))
	second := signature(t, repo, chart, bundle, []byte(`{"signature":2}`))
	signature(t, repo, first, "application/vnd.example.countersignature", []byte("signed as well"))
	var found []string
	err = repo.Referrers(ctx, chart, bundle, func(list []ocispec.Descriptor) error {
		for _, d := range list {
			found = append(found, d.Digest.String())
		}
		return nil
	})
	if err != nil || len(found) != 2 || !strings.Contains(strings.Join(found, " "), second.Digest.String()) {
		t.Errorf("referrers: %v, %v", found, err)
	}
	// With everything that refers to it, and what refers to that.
	store := memory.New()
	if _, err := oras.ExtendedCopy(ctx, repo, "1.0.0", store, "", oras.DefaultExtendedCopyOptions); err != nil {
		t.Fatal(err)
	}
	for _, d := range []ocispec.Descriptor{chart, first, second} {
		if ok, err := store.Exists(ctx, d); err != nil || !ok {
			t.Errorf("not copied: %v, %v", d.Digest, err)
		}
	}

	// The older way: a tag made of the digest, whose list of signatures grows.
	tag := strings.Replace(rel.Manifest, ":", "-", 1) + ".sig"
	list := func(layers ...string) error {
		m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
		config := []byte("{}")
		m.Config = content.NewDescriptorFromBytes(ocispec.MediaTypeImageConfig, config)
		if err := repo.Blobs().Push(ctx, m.Config, bytes.NewReader(config)); err != nil {
			return err
		}
		for _, l := range layers {
			d := content.NewDescriptorFromBytes("application/vnd.dev.cosign.simplesigning.v1+json", []byte(l))
			if err := repo.Blobs().Push(ctx, d, strings.NewReader(l)); err != nil {
				return err
			}
			m.Layers = append(m.Layers, d)
		}
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return repo.PushReference(ctx, content.NewDescriptorFromBytes(m.MediaType, b), bytes.NewReader(b), tag)
	}
	for _, layers := range [][]string{{"one"}, {"one", "two"}, {"one", "two", "three"}} {
		if err := list(layers...); err != nil {
			t.Fatalf("signatures %v: %v", layers, err)
		}
	}
	var refused *errcode.ErrorResponse
	if err := list("three"); !errors.As(err, &refused) || refused.StatusCode != http.StatusConflict {
		t.Errorf("signatures were taken away: %v", err)
	}
	// Helm finds the chart beside all of this, and nothing but the chart.
	sh.do("helm4", "registry", "login", s.Addr, "-u", "x", "-p", s.Admin, "--plain-http")
	sh.do("helm4", "pull", "oci://"+s.Addr+"/signed/app", "--plain-http")
	want(t, "newest beside signatures", sh.read("app-1.0.0.tgz"), archive)
	if status, body := s.get("/signed/index.yaml"); status != http.StatusOK || strings.Count(body, `"version"`) != 1 {
		t.Errorf("index: %d %s", status, body)
	}
}

// TestLibrary reads a chart with ORAS's library: by tag, by digest, in ranges,
// and where nothing is.
func TestLibrary(t *testing.T) {
	s := newSite(t, daemontest.Options{})
	ctx := t.Context()
	s.project(client.NewProject{Name: "team-a/web"})
	var versions []string
	for i := range 25 {
		v := fmt.Sprintf("1.%d.0", i)
		s.push("team-a/web", charttest.Build(t, "app", v, nil))
		versions = append(versions, v)
	}
	repo := s.repository("team-a/web/app", s.token("team-a/web", "reader"))
	repo.TagListPageSize = 7
	var tags []string
	if err := repo.Tags(ctx, "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil || len(tags) != len(versions) {
		t.Errorf("%d tags, %v", len(tags), err)
	}
	desc, err := oras.Copy(ctx, repo, "1.7.0", memory.New(), "", oras.DefaultCopyOptions)
	if err != nil {
		t.Fatal(err)
	}
	b, err := content.FetchAll(ctx, repo, desc)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	blob, err := repo.Fetch(ctx, m.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	seeker, ok := blob.(io.ReadSeeker)
	if !ok {
		t.Fatal("the server does not say that it serves ranges")
	}
	if _, err := seeker.Seek(100, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(seeker)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "from byte 100", rest, charttest.Build(t, "app", "1.7.0", nil)[100:])
	if _, err := repo.Resolve(ctx, "9.9.9"); err == nil {
		t.Error("a tag that there is not was resolved")
	}
	if _, err := repo.Resolve(ctx, digest.FromString("nothing").String()); err == nil {
		t.Error("a digest that there is not was resolved")
	}
	if _, err := s.repository("team-a/web/app", "wrong").Resolve(ctx, "1.0.0"); err == nil {
		t.Error("a wrong token resolved a tag")
	}
}
