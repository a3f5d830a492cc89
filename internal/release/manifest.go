package release

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Media types of Helm's charts in OCI registries, and of the image
// specification 1.1.
const (
	helmConfig     = "application/vnd.cncf.helm.config.v1+json"
	helmChart      = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	helmChartOld   = "application/tar+gzip"
	helmProvenance = "application/vnd.cncf.helm.chart.provenance.v1.prov"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	maxDescriptors = 1000
	maxConfig      = 1 << 20
)

// ociDocument is what is read of a manifest or an index: image specification
// 1.1, "Image Manifest" and "Image Index".
type ociDocument struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *ociDescriptor    `json:"config,omitempty"`
	Layers        []ociDescriptor   `json:"layers,omitempty"`
	Manifests     []ociDescriptor   `json:"manifests,omitempty"`
	Blobs         []ociDescriptor   `json:"blobs,omitempty"`
	Subject       *ociDescriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type ociDescriptor struct {
	MediaType    string   `json:"mediaType"`
	Digest       string   `json:"digest"`
	Size         int64    `json:"size"`
	URLs         []string `json:"urls,omitempty"`
	ArtifactType string   `json:"artifactType,omitempty"`
}

func badManifest(format string, args ...any) error {
	return problem.New(problem.Invalid, "manifest-invalid", "the manifest is not valid: "+format, args...)
}

// readManifest reads a manifest or an index of any media type that is JSON of
// the image specification's shape.
func readManifest(mediaType string, body []byte) (ociDocument, error) {
	var d ociDocument
	if len(body) > MaxManifest {
		return d, problem.New(problem.TooLarge, "manifest-size", "the manifest has %d bytes, and %d are allowed", len(body), MaxManifest)
	}
	if err := json.Unmarshal(body, &d); err != nil {
		return d, badManifest("it is not JSON of the image specification's shape").(*problem.Error).Because(err)
	}
	if err := oneReading(body, manifestKeys); err != nil {
		return d, err
	}
	if d.MediaType != "" && mediaType != "" && d.MediaType != mediaType {
		return d, badManifest("it says its media type is %.120q, and was sent as %.120q", d.MediaType, mediaType)
	}
	if n := len(d.Layers) + len(d.Manifests) + len(d.Blobs); n > maxDescriptors {
		return d, problem.New(problem.TooLarge, "manifest-descriptors", "the manifest names %d parts, and %d are allowed", n, maxDescriptors)
	}
	types := []string{mediaType, d.MediaType, d.ArtifactType}
	if d.Config != nil {
		types = append(types, d.Config.MediaType)
	}
	for _, t := range types {
		if !mediaTypeText(t) {
			return d, badManifest("%.120q is not a media type", t)
		}
	}
	check := func(what string, list []ociDescriptor) error {
		for _, x := range list {
			if err := digest.Check(x.Digest); err != nil {
				return badManifest("its %s names the digest %.160q", what, x.Digest)
			}
			if x.Size < 0 {
				return badManifest("its %s has a negative size", what)
			}
		}
		return nil
	}
	for what, list := range map[string][]ociDescriptor{"layers": d.Layers, "manifests": d.Manifests, "blobs": d.Blobs} {
		if err := check(what, list); err != nil {
			return d, err
		}
	}
	for what, one := range map[string]*ociDescriptor{"config": d.Config, "subject": d.Subject} {
		if one == nil {
			continue
		}
		if err := check(what, []ociDescriptor{*one}); err != nil {
			return d, err
		}
	}
	return d, nil
}

// mediaTypeText says whether a text may stand where a media type does: it is
// kept, and comes back in headers. Empty is allowed.
func mediaTypeText(s string) bool {
	const most = 255 // RFC 6838 section 4.2: two names of at most 127 characters
	return len(s) <= most && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// PutManifest stores a manifest under a digest, under tags, or both. In a
// project of charts, the manifest of a Helm chart under its version's tag is
// the claim of a release; other manifests are signatures and the like, whose
// tags never move and never look like versions.
func (s *Service) PutManifest(ctx context.Context, c Caller, repo string, ref ManifestRef, mediaType string, body []byte) (ManifestResult, error) {
	p, rest, err := s.repository(ctx, c, repo)
	if err != nil {
		return ManifestResult{}, err
	}
	if _, err := s.mayUpload(ctx, c, repo); err != nil {
		return ManifestResult{}, err
	}
	doc, err := readManifest(mediaType, body)
	if err != nil {
		return ManifestResult{}, err
	}
	m := Manifest{Repository: repo, MediaType: mediaType, Bytes: body, ArtifactType: doc.ArtifactType}
	if m.MediaType == "" {
		m.MediaType = doc.MediaType
	}
	if m.ArtifactType == "" && doc.Config != nil {
		m.ArtifactType = doc.Config.MediaType
	}
	if doc.Subject != nil {
		m.Subject = doc.Subject.Digest
	}
	if len(doc.Annotations) > 0 {
		if m.Annotations, err = json.Marshal(doc.Annotations); err != nil {
			return ManifestResult{}, err
		}
	}
	if m.Digest, err = manifestDigest(ref, body); err != nil {
		return ManifestResult{}, err
	}
	for _, tag := range ref.Tags {
		if !chart.IsTag(tag) {
			return ManifestResult{}, problem.New(problem.Invalid, "tag", "%.150q is not a tag", tag)
		}
	}
	if doc.Config != nil && doc.Config.MediaType == helmConfig {
		return s.putChart(ctx, c, &p, rest, ref, &m, &doc)
	}
	return s.putOther(ctx, c, &p, rest, ref, &m, &doc)
}

func manifestDigest(ref ManifestRef, body []byte) (string, error) {
	if ref.Digest == "" {
		return digest.SHA256(body), nil
	}
	if err := digest.Check(ref.Digest); err != nil {
		return "", err
	}
	if !digest.Matches(body, ref.Digest) {
		return "", problem.New(problem.Invalid, "digest-mismatch", "the manifest that arrived does not have the digest that it was sent under").
			With("stated", "%s", ref.Digest).With("arrived", "%s", digest.SHA256(body))
	}
	return ref.Digest, nil
}

// links are the blobs that a manifest needs, each of which must be visible in
// the repository.
func (s *Service) links(ctx context.Context, repo string, doc *ociDocument) ([]Link, error) {
	need := make([]ociDescriptor, 0, 1+len(doc.Layers)+len(doc.Blobs))
	if doc.Config != nil {
		need = append(need, *doc.Config)
	}
	need = append(append(need, doc.Layers...), doc.Blobs...)
	out := make([]Link, 0, len(need))
	for _, d := range need {
		if len(d.URLs) > 0 {
			continue // lies elsewhere, by the manifest's own word
		}
		l, err := s.store.BlobLink(ctx, repo, d.Digest)
		if problem.KindOf(err) == problem.NotFound {
			return nil, problem.New(problem.Invalid, "manifest-blob-unknown", "the manifest names the blob %s, which repository %s does not have", d.Digest, repo).
				Suggest("upload the blob first, then the manifest")
		}
		if err != nil {
			return nil, err
		}
		if l.Size != d.Size {
			return nil, badManifest("it says that %s has %d bytes, and it has %d", d.Digest, d.Size, l.Size)
		}
		out = append(out, l)
	}
	return out, nil
}

// putOther keeps a manifest that is no chart's.
func (s *Service) putOther(ctx context.Context, c Caller, p *Project, rest string, ref ManifestRef, m *Manifest, doc *ociDocument) (ManifestResult, error) {
	action := access.ChartPush
	if p.Kind == KindCharts {
		action = access.AttestAttach
		if err := checkBeside(doc); err != nil {
			return ManifestResult{}, err
		}
		for _, tag := range ref.Tags {
			if p.State == ProjectImporting && !fallbackTag(tag) {
				// History may hold versions of any look, and its tags come first.
				return ManifestResult{}, problem.New(problem.Conflict, "project-importing", "project %s is taking over the history of an older repository, and takes the tag %s after its cut-over", p.Name, tag).
					Suggest("chartkeep project cut-over %s", p.Name)
			}
			// Clients such as Flux read 1.0 and v2 as versions too.
			if key, _ := chart.LenientVersion(chart.VersionForTag(tag)); key != "" {
				return ManifestResult{}, problem.New(problem.Invalid, "tag-version", "the tag %s is a version, and in project %s only Helm charts have versions", tag, p.Name).
					Suggest("push what belongs to a chart as a referrer of it, or under a tag that is no version")
			}
		}
	}
	if err := s.allow(ctx, c, p, rest, action, false); err != nil {
		return ManifestResult{}, err
	}
	links, err := s.links(ctx, m.Repository, doc)
	if err != nil {
		return ManifestResult{}, err
	}
	bundle, err := s.bundlePut(ctx, p, m, doc)
	if err != nil {
		return ManifestResult{}, err
	}
	ev := s.event(c)
	ev.Resource = audit.Resource{Project: p.Name, Chart: rest, Version: strings.Join(ref.Tags, " "), Digest: m.Digest}
	err = s.store.PutManifest(ctx, &ManifestPut{
		ProjectID: p.ID, Manifest: *m, Tags: ref.Tags, Links: links, Visible: true, MayMove: mayMove(p, m), Event: ev, Now: s.now(), Bundle: bundle,
	})
	if err != nil {
		return ManifestResult{}, err
	}
	return ManifestResult{Digest: m.Digest, Subject: m.Subject, Tags: ref.Tags}, nil
}

// checkBeside holds what may stand beside charts to the image specification,
// and keeps charts from coming in under another config, past the claim.
func checkBeside(doc *ociDocument) error {
	if doc.SchemaVersion != 2 {
		return badManifest("its schemaVersion is %d, and manifests and indexes have 2", doc.SchemaVersion)
	}
	for _, l := range doc.Layers {
		if l.MediaType == helmChart {
			return badManifest("it has a Helm chart as a layer, and its config is not that of a Helm chart")
		}
	}
	return nil
}

// mayMove says whether a tag may leave the manifest that it stands on. In
// projects of charts it may only grow: cosign and other clients of older
// registries keep a list of signatures under one tag, and append to it.
func mayMove(p *Project, m *Manifest) func(tag string, held *Manifest) error {
	if p.Kind == KindArtifacts {
		return func(string, *Manifest) error { return nil }
	}
	return func(tag string, held *Manifest) error {
		if held.Release == nil && fallbackTag(tag) && appends(held.Bytes, m.Bytes) {
			return nil
		}
		return problem.New(problem.Immutable, "tag-move", "the tag %s of %s stands on another manifest and cannot be moved", tag, m.Repository).
			With("stored", "%s", held.Digest).With("offered", "%s", m.Digest).
			Suggest("choose another tag, or push it as a referrer without one")
	}
}

// chartLayers finds the archive and the provenance among a chart's layers.
func chartLayers(doc *ociDocument) (archive ociDescriptor, prov *ociDescriptor, err error) {
	found := 0
	for i, l := range doc.Layers {
		switch l.MediaType {
		case helmChart, helmChartOld:
			archive = l
			found++
		case helmProvenance:
			if prov != nil {
				return archive, nil, badManifest("it has two provenance layers")
			}
			prov = &doc.Layers[i]
		default:
			return archive, nil, badManifest("a Helm chart has no layer of type %.120q", l.MediaType)
		}
	}
	if found != 1 {
		return archive, nil, badManifest("it has %d chart layers, and a Helm chart has one", found)
	}
	return archive, prov, nil
}

// putChart claims a release through the OCI door. Put by digest alone, the
// manifest is kept, but no reader sees it until a tag claims it.
func (s *Service) putChart(ctx context.Context, c Caller, p *Project, rest string, ref ManifestRef, m *Manifest, doc *ociDocument) (ManifestResult, error) {
	if err := s.pushable(p, nil); err != nil {
		return ManifestResult{}, err
	}
	layer, prov, err := chartLayers(doc)
	if err != nil {
		return ManifestResult{}, err
	}
	links, err := s.links(ctx, m.Repository, doc)
	if err != nil {
		return ManifestResult{}, err
	}
	if doc.Subject != nil {
		return ManifestResult{}, badManifest("a Helm chart has no subject")
	}
	if len(ref.Tags) == 0 {
		if err := s.allow(ctx, c, p, rest, access.ChartPush, true); err != nil {
			return ManifestResult{}, err
		}
		ev := s.event(c)
		ev.Resource = audit.Resource{Project: p.Name, Chart: rest, Digest: m.Digest}
		err := s.store.PutManifest(ctx, &ManifestPut{ProjectID: p.ID, Manifest: *m, Links: links, Event: ev, Now: s.now()})
		return ManifestResult{Digest: m.Digest}, err
	}
	a, provBytes, config, err := s.readChart(ctx, p, rest, ref.Tags, layer, prov, doc)
	if err != nil {
		if a == nil {
			a = &chart.Archive{Metadata: chart.Metadata{Name: rest, Version: chart.VersionForTag(ref.Tags[0])}, Digest: layer.Digest}
		}
		if _, ok := problem.As(err); !ok || problem.KindOf(err) == problem.Unavailable {
			return ManifestResult{}, err
		}
		return ManifestResult{}, s.refusedChart(ctx, c, p, a, err)
	}
	if err := s.allowPush(ctx, c, p, a, nil); err != nil {
		return ManifestResult{}, err
	}
	claim := s.newClaim(c, p, a, provBytes, nil)
	claim.Manifest, claim.Config, claim.Links = *m, config, links
	claim.Release.Manifest, claim.Release.Config = m.Digest, doc.Config.Digest
	claim.offered = func(limit int64) ([]byte, error) { return s.readSmall(ctx, a.Digest, limit) }
	receipt, err := s.claim(ctx, c, claim, a, func() error { return nil })
	if err != nil {
		return ManifestResult{}, err
	}
	return ManifestResult{Digest: m.Digest, Tags: ref.Tags, Receipt: &receipt}, nil
}

// readChart reads and checks what a chart's manifest names. The archive is
// returned with an error too, as far as it was read.
func (s *Service) readChart(ctx context.Context, p *Project, rest string, tags []string, layer ociDescriptor, prov *ociDescriptor, doc *ociDocument) (a *chart.Archive, provBytes, config []byte, err error) {
	b, err := s.open(ctx, layer.Digest)
	if err != nil {
		return nil, nil, nil, err
	}
	defer b.Close()
	archive, err := chart.Open(io.NewSectionReader(b.file, 0, b.Size()), s.limits)
	if err != nil {
		return nil, nil, nil, err
	}
	a = &archive
	if !strings.HasPrefix(layer.Digest, "sha256:") {
		return a, nil, nil, problem.New(problem.Invalid, "archive-digest-algorithm", "the chart layer of a release is named by its SHA-256").
			With("layer", "%s", layer.Digest).With("sha256", "%s", a.Digest)
	}
	if a.Digest != layer.Digest {
		return a, nil, nil, problem.New(problem.Disproven, "blob-damaged", "the stored bytes of %s are not the bytes of that digest", layer.Digest)
	}
	if err := a.Check(); err != nil {
		return a, nil, nil, err
	}
	name, version := a.Metadata.Name, a.Metadata.Version
	if rest != name {
		return a, nil, nil, problem.New(problem.Invalid, "repository-mismatch", "the chart %s was pushed to the repository %s/%s", name, p.Name, rest).
			Suggest("helm push %s oci://HOST/%s", chart.FileName(name, version), p.Name)
	}
	for _, tag := range tags {
		if tag != chart.TagFor(version) {
			return a, nil, nil, problem.New(problem.Invalid, "tag-mismatch", "the chart has version %s in its Chart.yaml, and was pushed under the tag %.128s", version, tag).
				With("expected tag", "%s", chart.TagFor(version))
		}
	}
	if config, err = s.readSmall(ctx, doc.Config.Digest, maxConfig); err != nil {
		return a, nil, nil, err
	}
	var said struct{ Name, Version string }
	if err := json.Unmarshal(config, &said); err != nil || said.Name != name || said.Version != version {
		return a, nil, nil, problem.New(problem.Invalid, "config-mismatch", "the manifest's config does not say the name and version of the chart's own Chart.yaml, %s %s", name, version).
			With("config", "%.80q %.80q", said.Name, said.Version)
	}
	if prov != nil {
		if provBytes, err = s.readSmall(ctx, prov.Digest, MaxProvenance); err != nil {
			return a, nil, nil, err
		}
		if digest.SHA256(provBytes) != prov.Digest {
			return a, nil, nil, badManifest("its provenance layer is not named by its SHA-256")
		}
	}
	return a, provBytes, config, checkProvenance(a, provBytes)
}

// ownManifest makes the OCI manifest and config of a chart that came as an
// archive: the same shape that Helm pushes, without the time of the file, so
// that the same chart always makes the same manifest.
func ownManifest(a *chart.Archive, prov string, provSize int64) (Manifest, []byte) {
	config := a.Metadata.JSON()
	doc := ociDocument{
		SchemaVersion: 2, MediaType: ociManifest,
		Config: &ociDescriptor{MediaType: helmConfig, Digest: digest.SHA256(config), Size: int64(len(config))},
		Layers: []ociDescriptor{{MediaType: helmChart, Digest: a.Digest, Size: a.Size}},
		Annotations: map[string]string{
			"org.opencontainers.image.title":   a.Metadata.Name,
			"org.opencontainers.image.version": a.Metadata.Version,
		},
	}
	if prov != "" {
		doc.Layers = append(doc.Layers, ociDescriptor{MediaType: helmProvenance, Digest: prov, Size: provSize})
	}
	if d := a.Metadata.Description; d != "" {
		doc.Annotations["org.opencontainers.image.description"] = d
	}
	if h := a.Metadata.Home; h != "" {
		doc.Annotations["org.opencontainers.image.url"] = h
	}
	if src := a.Metadata.Sources; len(src) > 0 {
		doc.Annotations["org.opencontainers.image.source"] = src[0]
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		panic(err) // a struct of plain values
	}
	body := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	annotations, err := json.Marshal(doc.Annotations)
	if err != nil {
		panic(err)
	}
	return Manifest{Digest: digest.SHA256(body), MediaType: ociManifest, ArtifactType: helmConfig, Annotations: annotations, Bytes: body}, config
}

// GetManifest returns a manifest by tag or digest. A chart's manifest that no
// tag has claimed yet is shown by its digest to whoever could claim it: clients
// put a manifest by digest, read it back, and then tag it.
func (s *Service) GetManifest(ctx context.Context, c Caller, repo, ref string) (Manifest, error) {
	p, rest, err := s.repository(ctx, c, repo)
	if err != nil {
		return Manifest{}, err
	}
	if err := s.allow(ctx, c, &p, rest, access.ChartPull, false); err != nil {
		return Manifest{}, err
	}
	if err := checkReference(ref); err != nil {
		return Manifest{}, err
	}
	m, err := s.manifest(ctx, &p, rest, ref)
	if problem.KindOf(err) == problem.NotFound && strings.Contains(ref, ":") &&
		s.could(c, access.Request{Action: access.ChartPush, Project: p.Name, ProjectPublic: p.Public, Chart: rest}) {
		return s.store.PendingManifest(ctx, repo, ref)
	}
	return m, err
}

func checkReference(ref string) error {
	if strings.Contains(ref, ":") {
		return digest.Check(ref)
	}
	if !chart.IsTag(ref) {
		return problem.New(problem.Invalid, "tag", "%.150q is neither a tag nor a digest", ref)
	}
	return nil
}

// DeleteManifest removes a manifest or a tag of an artifacts project.
func (s *Service) DeleteManifest(ctx context.Context, c Caller, repo, ref string) error {
	p, err := s.mayDelete(ctx, c, repo, ref)
	if err != nil {
		return err
	}
	if err := checkReference(ref); err != nil {
		return err
	}
	ev := s.event(c)
	ev.Resource = audit.Resource{Project: p.Name, Chart: strings.TrimPrefix(strings.TrimPrefix(repo, p.Name), "/"), Version: ref}
	if strings.Contains(ref, ":") {
		ev.Resource.Version, ev.Resource.Digest = "", ref
	}
	return s.store.DeleteManifest(ctx, repo, ref, ev, s.now())
}

// maxPage bounds what one listing answers.
const maxPage = 10_000

// Tags lists the tags of a repository in byte order after a name.
func (s *Service) Tags(ctx context.Context, c Caller, repo, after string, limit int) ([]string, bool, error) {
	if _, err := s.mayRead(ctx, c, repo); err != nil {
		return nil, false, err
	}
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	tags, err := s.store.Tags(ctx, repo, after, limit+1)
	if err != nil {
		return nil, false, err
	}
	if len(tags) == 0 && after == "" {
		known, err := s.store.HasRepository(ctx, repo)
		if err != nil {
			return nil, false, err
		}
		if !known {
			return nil, false, problem.New(problem.NotFound, "repository-unknown", "there is no repository %s", repo)
		}
	}
	more := len(tags) > limit
	return tags[:min(limit, len(tags))], more, nil
}

// Catalog lists the repositories that the caller may read. Cost: it reads
// pages until limit of them may be read; whoever may read few of very many
// pays for all.
func (s *Service) Catalog(ctx context.Context, c Caller, after string, limit int) ([]string, bool, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	if scope := c.Principal.Scope; scope != nil && !slices.ContainsFunc(scope, func(sc access.Scope) bool { return sc.Type == "registry" && sc.Name == "catalog" }) {
		return nil, false, outOfScope(c, "registry:catalog:*")
	}
	projects, err := s.store.AllProjects(ctx)
	if err != nil {
		return nil, false, err
	}
	readable := map[int64]bool{}
	for i := range projects {
		p := &projects[i]
		readable[p.ID] = p.State != ProjectRemoved && access.Allowed(c.Principal,
			access.Request{Action: access.ChartPull, Project: p.Name, ProjectPublic: p.Public}, s.now())
	}
	out := []string{}
	for {
		page, err := s.store.RepositoryNames(ctx, after, limit+1)
		if err != nil {
			return nil, false, err
		}
		for _, r := range page {
			if !readable[r.ProjectID] {
				continue
			}
			if len(out) == limit {
				return out, true, nil
			}
			out = append(out, r.Name)
		}
		if len(page) <= limit {
			return out, false, nil
		}
		after = page[len(page)-1].Name
	}
}

// Referrers lists what refers to a manifest; nothing where the repository or
// the digest is unknown.
func (s *Service) Referrers(ctx context.Context, c Caller, repo, d, artifactType string) ([]Descriptor, error) {
	if _, err := s.mayRead(ctx, c, repo); err != nil {
		return nil, err
	}
	if err := digest.Check(d); err != nil {
		return nil, err
	}
	if err := s.store.CheckWithheld(ctx, repo, d); err != nil {
		return nil, err
	}
	return s.store.Referrers(ctx, repo, d, artifactType)
}
