package source

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/upstream"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// The media types of a chart in a registry, as Helm writes them; the last is
// that of Helm 3.0 to 3.6.
const (
	configType       = "application/vnd.cncf.helm.config.v1+json"
	layerType        = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	provenanceType   = "application/vnd.cncf.helm.chart.provenance.v1.prov"
	experimentalType = "application/tar+gzip"
)

// A poll of an OCI repository lists its tags. Tags that are a version, as Helm
// reads them (strict SemVer, with _ for +), are versions; others are not looked
// at. The digest of a version is that of the archive, which only its manifest
// names, so a manifest is fetched once for every manifest digest. What was read
// is kept in Validators.State, so that a restart does not read it all again:
// some registries count each manifest that is fetched, and none counts HEAD.
//
// Tags can be moved without notice. Each poll asks with HEAD where they point:
// all of them up to Config.Requests, and with more tags as many of them in turn,
// those first that were never looked at. What is not asked this time keeps what
// is known of it. A version whose manifest could not be read yet, because the
// registry wants to be left alone, is listed without a digest.

// pointed is what is known of a tag: where it pointed when it was last asked,
// and what was there.
type pointed struct {
	manifest [16]byte          // the first half of its SHA-256
	archive  [sha256.Size]byte // zero where no chart was there
	created  int64             // unix seconds by the manifest's annotation, 0 for none
}

// memory is what is kept between polls.
type memory struct {
	next string             // the tag from which the next poll goes on
	tags map[string]pointed // by tag
}

func (p pointed) isChart() bool { return p.archive != [sha256.Size]byte{} }

// encode writes a memory as text, about 90 bytes for a tag.
func (m *memory) encode() string {
	out := struct {
		Next string            `json:"next,omitempty"`
		Tags map[string]string `json:"tags"`
	}{m.next, make(map[string]string, len(m.tags))}
	for tag, p := range m.tags {
		b := slices.Concat(p.manifest[:], p.archive[:], binary.BigEndian.AppendUint64(nil, uint64(p.created)))
		out.Tags[tag] = base64.RawStdEncoding.EncodeToString(b)
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err) // texts alone
	}
	return string(b)
}

// decodeMemory reads a memory; one that cannot be read is empty, and costs
// nothing but requests.
func decodeMemory(s string) *memory {
	m := &memory{tags: map[string]pointed{}}
	var in struct {
		Next string            `json:"next"`
		Tags map[string]string `json:"tags"`
	}
	if json.Unmarshal([]byte(s), &in) != nil {
		return m
	}
	m.next = in.Next
	for tag, text := range in.Tags {
		b, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || len(b) != 16+sha256.Size+8 {
			continue
		}
		m.tags[tag] = pointed{[16]byte(b), [sha256.Size]byte(b[16:]), int64(binary.BigEndian.Uint64(b[16+sha256.Size:]))}
	}
	return m
}

// oci polls a repository of an OCI registry.
func (s *Sources) oci(ctx context.Context, src watch.Source, v watch.Validators) (watch.Found, error) {
	host, path, ref, err := ociName(src.URL)
	if err == nil && ref != "" {
		err = problem.New(problem.Invalid, "source-url", "%s names one tag; a source is a repository without one", src.URL)
	}
	if err != nil {
		return watch.Found{}, err
	}
	if src.Credential != "" { // what is bound to another host is a mistake here
		if err := s.checkOCI(src.Credential, host); err != nil {
			return watch.Found{}, err
		}
	}
	repo, err := s.repository(src.Credential, host, path)
	if err != nil {
		return watch.Found{}, err
	}
	tags, err := s.versionTags(ctx, repo)
	if err != nil {
		return watch.Found{}, err
	}
	m := decodeMemory(v.State)
	known := maps.Clone(m.tags)
	listed := make(map[string]bool, len(tags))
	for _, t := range tags {
		listed[t] = true
	}
	maps.DeleteFunc(m.tags, func(t string, _ pointed) bool { return !listed[t] })
	gone, pause, err := s.ask(ctx, repo, m, tags)
	if err != nil {
		return watch.Found{}, err
	}
	found := watch.Found{Validators: watch.Validators{State: m.encode()}, RetryAfter: pause}
	if len(m.tags) == len(tags) && maps.Equal(known, m.tags) {
		found.Unchanged = true
		return found, nil
	}
	found.Index = ociIndex(src.URL, path, slices.DeleteFunc(tags, func(t string) bool { return gone[t] }), m)
	return found, nil
}

func (s *Sources) checkOCI(credential, host string) error {
	scheme := "https://"
	if s.client.PlainHTTP(credential, host) {
		scheme = "http://"
	}
	return s.client.Check(credential, scheme+host)
}

// ociIndex lists what is known as an index of one chart.
func ociIndex(base, path string, tags []string, m *memory) *upstream.Index {
	c := upstream.Chart{Name: path[strings.LastIndexByte(path, '/')+1:]}
	for _, tag := range tags {
		p, known := m.tags[tag]
		if known && !p.isChart() {
			continue
		}
		v := upstream.Version{Version: chart.VersionForTag(tag), URLs: []string{strings.TrimSuffix(base, "/") + ":" + tag}}
		if known {
			v.Digest = hex.EncodeToString(p.archive[:])
			if p.created != 0 {
				v.Created = time.Unix(p.created, 0).UTC()
			}
		}
		c.Versions = append(c.Versions, v)
	}
	if len(c.Versions) == 0 {
		return &upstream.Index{}
	}
	return &upstream.Index{Charts: []upstream.Chart{c}}
}

// versionTags lists the tags that are versions, the newest first.
func (s *Sources) versionTags(ctx context.Context, repo *repository) ([]string, error) {
	type tagged struct {
		tag     string
		version chart.Version
	}
	var all []tagged
	seen := map[string]bool{}
	n := 0
	err := repo.Tags(ctx, "", func(tags []string) error {
		if n += len(tags); n > s.config.Tags {
			return problem.New(problem.TooLarge, "registry-tags", "the repository %s has more than %d tags", repo.Reference.Repository, s.config.Tags)
		}
		for _, t := range tags {
			v, err := chart.ParseVersion(chart.VersionForTag(t))
			if err == nil && chart.IsTag(t) && !seen[t] {
				seen[t] = true
				all = append(all, tagged{t, v})
			}
		}
		return nil
	})
	if err != nil {
		return nil, foreign(err, repo)
	}
	slices.SortFunc(all, func(a, b tagged) int {
		if c := b.version.Compare(a.version); c != 0 {
			return c
		}
		return strings.Compare(a.tag, b.tag)
	})
	out := make([]string, len(all))
	for i, t := range all {
		out[i] = t.tag
	}
	return out, nil
}

// foreign is the problem of what oras makes of an answer that it does not
// understand.
func foreign(err error, repo *repository) error {
	if _, ok := problem.As(err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	return problem.New(problem.Invalid, "registry-answer", "the answer of the registry %s is not understood", repo.Reference.Registry).
		Because(err).Suggest("check that oci://%s/%s is a repository of an OCI registry", repo.Reference.Registry, repo.Reference.Repository)
}

// turn chooses the tags that are asked this time: those that nothing is known
// of, then the known from m.next on, in the order of their names.
func (m *memory) turn(tags []string, limit int) []string {
	var out, known []string
	for _, t := range tags {
		if _, ok := m.tags[t]; ok {
			known = append(known, t)
		} else {
			out = append(out, t)
		}
	}
	if len(tags) <= limit {
		m.next = ""
		return tags
	}
	out = out[:min(len(out), limit)]
	slices.Sort(known)
	from, _ := slices.BinarySearch(known, m.next)
	known = slices.Concat(known[from:], known[:from])
	take := min(len(known), limit-len(out))
	if take < len(known) {
		m.next = known[take]
	}
	return append(out, known[:take]...)
}

// ask asks where tags point, a few at once, and brings m up to date. It returns
// the tags that were gone meanwhile, and the pause that the registry asked for,
// which is no error once it had answered something.
func (s *Sources) ask(ctx context.Context, repo *repository, m *memory, tags []string) (gone map[string]bool, pause time.Duration, err error) {
	var mu sync.Mutex
	var work sync.WaitGroup
	gone = map[string]bool{}
	answered := 0
	failed := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return err != nil
	}
	jobs := make(chan string)
	for range 8 { // the client holds each host to its own limit
		work.Go(func() {
			for tag := range jobs {
				mu.Lock()
				was := m.tags[tag]
				mu.Unlock()
				p, e := resolve(ctx, repo, tag, was)
				mu.Lock()
				switch {
				case e == nil:
					m.tags[tag] = p
					answered++
				case problem.KindOf(e) == problem.NotFound:
					gone[tag] = true
					delete(m.tags, tag)
					answered++
				case err == nil:
					err = e // what was asked for already is awaited
				}
				mu.Unlock()
			}
		})
	}
	for _, tag := range m.turn(tags, s.config.Requests) {
		if failed() {
			break
		}
		jobs <- tag
	}
	close(jobs)
	work.Wait()
	if pause = remote.RetryAfter(err); pause > 0 && answered > 0 {
		err = nil
	}
	return gone, pause, err
}

// resolve asks where a tag points, and reads the manifest where that is new.
func resolve(ctx context.Context, repo *repository, tag string, was pointed) (pointed, error) {
	desc, err := repo.Resolve(ctx, tag)
	if err != nil {
		return pointed{}, foreign(err, repo)
	}
	sum, err := sha256Of(desc.Digest.String())
	if err != nil {
		return pointed{}, err
	}
	if [16]byte(sum[:]) == was.manifest {
		return was, nil
	}
	p := pointed{manifest: [16]byte(sum[:])}
	m, err := repo.manifest(ctx, desc.Digest.String())
	if err != nil {
		return pointed{}, err
	}
	if l, ok := m.archive(); ok {
		if p.archive, err = sha256Of(l.Digest); err != nil {
			return pointed{}, err
		}
		if t, err := time.Parse(time.RFC3339, m.Annotations["org.opencontainers.image.created"]); err == nil && t.Unix() > 0 {
			p.created = t.Unix()
		}
	}
	return p, nil
}

// manifest is what is read of an image manifest. A list of images has none of
// it.
type manifest struct {
	Config      layer             `json:"config"`
	Layers      []layer           `json:"layers"`
	Annotations map[string]string `json:"annotations"`
}

type layer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// manifestTypes are the media types of what a tag may point to.
const manifestTypes = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, " +
	"application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"

// manifest reads the manifest of a digest, and proves that it is.
func (r *repository) manifest(ctx context.Context, of string) (manifest, error) {
	var m manifest
	res, err := r.get(ctx, "manifests/"+of, manifestTypes)
	if err != nil {
		return m, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxManifest+1))
	switch {
	case err != nil:
		return m, err
	case len(b) > maxManifest:
		return m, problem.New(problem.TooLarge, "registry-manifest", "the registry %s has a manifest of more than %d bytes", r.Reference.Registry, maxManifest)
	case digest.SHA256(b) != of:
		return m, otherBytes(r, of)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, problem.New(problem.Invalid, "registry-manifest", "the manifest %s of the registry %s cannot be read", of, r.Reference.Registry)
	}
	return m, nil
}

func otherBytes(r *repository, of string) *problem.Error {
	return problem.New(problem.Disproven, "registry-digest", "the registry %s sent other bytes than those of %s", r.Reference.Registry, of).
		Suggest("try again; if it stays so, tell whoever runs the registry")
}

// archive finds the archive in the manifest of a chart.
func (m *manifest) archive() (layer, bool) {
	if m.Config.MediaType != configType {
		return layer{}, false
	}
	for _, l := range m.Layers {
		if l.MediaType == layerType || l.MediaType == experimentalType {
			return l, true
		}
	}
	return layer{}, false
}

// sha256Of is the sum that a digest names.
func sha256Of(d string) ([sha256.Size]byte, error) {
	alg, digits, err := digest.Split(d)
	if err != nil || alg != "sha256" {
		return [sha256.Size]byte{}, problem.New(problem.Unsupported, "registry-digest", "the digest %.100q is not a SHA-256", d)
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return [sha256.Size]byte(b), nil
}

// ociName splits oci://host/path:tag and oci://host/path@digest.
func ociName(raw string) (host, path, ref string, err error) {
	rest, ok := strings.CutPrefix(raw, "oci://")
	host, path, found := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if !ok || !found || strings.ContainsAny(host, "@") {
		return "", "", "", problem.New(problem.Invalid, "source-url", "%s is not oci://HOST/PATH/CHART", remote.Shown(raw))
	}
	if p, d, ok := strings.Cut(path, "@"); ok {
		path, _, _ = strings.Cut(p, ":")
		return host, path, d, nil
	}
	path, ref, _ = strings.Cut(path, ":")
	return host, path, ref, nil
}

// ociArchive opens the archive of a chart in a registry, unless its tag points
// to the manifest with the digest since.
func (s *Sources) ociArchive(ctx context.Context, credential, raw, since string) (watch.Opened, error) {
	repo, at, err := s.ociManifest(ctx, credential, raw)
	if err != nil {
		return watch.Opened{}, err
	}
	opened := watch.Opened{Validators: watch.Validators{ETag: at}}
	if at == since {
		opened.Unchanged = true
		return opened, nil
	}
	m, err := repo.manifest(ctx, at)
	if err != nil {
		return watch.Opened{}, err
	}
	l, ok := m.archive()
	if !ok {
		return watch.Opened{}, problem.New(problem.Invalid, "registry-manifest", "%s is no chart", remote.Shown(raw)).With("type", "%.100s", m.Config.MediaType)
	}
	if opened.ReadCloser, err = repo.layer(ctx, l, s.config.Archive, "the archive of "+remote.Shown(raw)); err != nil {
		return watch.Opened{}, err
	}
	return opened, nil
}

// ociProvenance opens the provenance layer of a chart in a registry, nil where
// its manifest has none.
func (s *Sources) ociProvenance(ctx context.Context, credential, raw string) (io.ReadCloser, error) {
	repo, at, err := s.ociManifest(ctx, credential, raw)
	if err != nil {
		return nil, err
	}
	m, err := repo.manifest(ctx, at)
	if err != nil {
		return nil, err
	}
	if _, ok := m.archive(); !ok {
		return nil, nil
	}
	for _, l := range m.Layers {
		if l.MediaType == provenanceType {
			rc, err := repo.layer(ctx, l, chart.MaxProvenance, "the provenance of "+remote.Shown(raw))
			if problem.KindOf(err) == problem.NotFound {
				err = problem.New(problem.Invalid, "registry-provenance", "the manifest of %s names a provenance that the registry does not have", remote.Shown(raw))
			}
			return rc, err
		}
	}
	return nil, nil
}

// ociManifest asks for the digest of the manifest that oci://host/path:tag names.
func (s *Sources) ociManifest(ctx context.Context, credential, raw string) (*repository, string, error) {
	host, path, ref, err := ociName(raw)
	if err != nil {
		return nil, "", err
	}
	if ref == "" {
		return nil, "", problem.New(problem.Invalid, "source-url", "%s names no tag", remote.Shown(raw))
	}
	repo, err := s.repository(credential, host, path)
	if err != nil {
		return nil, "", err
	}
	if digest.Check(ref) != nil {
		desc, err := repo.Resolve(ctx, ref)
		if err != nil {
			return nil, "", foreign(err, repo)
		}
		ref = desc.Digest.String()
	}
	_, err = sha256Of(ref)
	return repo, ref, err
}

// layer opens a layer of a manifest, of limit bytes at most.
func (r *repository) layer(ctx context.Context, l layer, limit int64, what string) (io.ReadCloser, error) {
	if l.Size > limit || l.Size < 0 {
		return nil, problem.New(problem.TooLarge, "registry-archive", "%s has more than %d bytes", what, limit).With("bytes", "%d", l.Size)
	}
	if _, err := sha256Of(l.Digest); err != nil {
		return nil, err
	}
	res, err := r.get(ctx, "blobs/"+l.Digest, "*/*")
	if err != nil {
		return nil, err
	}
	return &verified{ReadCloser: res.Body, left: l.Size, sum: sha256.New(), want: l.Digest, repo: r}, nil
}

// verified ends with an error where the bytes are not those of the digest.
type verified struct {
	io.ReadCloser
	left int64
	sum  hash.Hash
	want string
	repo *repository
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	if v.left -= int64(n); v.left < 0 {
		return 0, otherBytes(v.repo, v.want)
	}
	if err == io.EOF && digest.Of("sha256", v.sum) != v.want {
		return 0, otherBytes(v.repo, v.want)
	}
	return n, err
}
