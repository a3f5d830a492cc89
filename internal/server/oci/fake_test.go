package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// fake is a complete registry in memory, with the contract of release.Service
// as far as the door can see it. Projects are the first segment of a repository
// name:
//
//	demo     artifacts, private
//	public   artifacts, everybody may pull
//	charts   charts, private: tags do not move, nothing is deleted
//	secret   artifacts, of which only root may know
//
// ci/secret may do everything in all but secret, reader/secret may pull there.
type fake struct {
	mu      sync.Mutex
	repos   map[string]*fakeRepo
	uploads map[string]*fakeUpload
	blobs   map[string][]byte // of all repositories
	bearers map[string]fakeBearer
	serial  int
	fail    error  // returned by every method when set
	damaged string // digest of a blob whose stored bytes are wrong
}

type fakeRepo struct {
	blobs     map[string]bool
	manifests map[string]*release.Manifest
	order     []string // digests of manifests, oldest first
	tags      map[string]string
}

type fakeUpload struct {
	repo  string
	bytes []byte
}

type fakeBearer struct {
	principal access.Principal
	scopes    []access.Scope
	expires   time.Time
}

func newFake() *fake {
	return &fake{
		repos:   map[string]*fakeRepo{},
		uploads: map[string]*fakeUpload{},
		blobs:   map[string][]byte{},
		bearers: map[string]fakeBearer{},
	}
}

var (
	_ Registry = (*fake)(nil)
	_ Registry = (*release.Service)(nil)
)

func user(name string) access.Principal {
	return access.Principal{ID: "usr-" + name, Name: name, Kind: access.KindUser}
}

// may is the fake's whole access decision.
func may(p access.Principal, action, project string) bool {
	switch p.Name {
	case "root":
		return true
	case "ci":
		return project != "secret"
	case "reader":
		return action == "pull" && project != "secret"
	}
	return action == "pull" && project == "public"
}

// enter authorises, and holds the lock until leave is called.
func (f *fake) enter(c release.Caller, action, repo string) (leave func(), err error) {
	wellFormed(repo)
	f.mu.Lock()
	leave = f.mu.Unlock
	project, _, _ := strings.Cut(repo, "/")
	switch {
	case f.fail != nil:
		err = f.fail
	case !slices.Contains([]string{"demo", "public", "charts", "secret"}, project):
		project = "secret"
		fallthrough
	default:
		p := c.Principal
		allowed := may(p, action, project)
		b, scoped := f.bearers[p.TokenID]
		switch {
		case allowed && scoped && !(access.Bearer{Scope: b.scopes}).Allows(repo, action):
			err = problem.New(problem.Denied, ruleScope, "the bearer token was not asked for this repository")
		case allowed:
			return leave, nil
		case p.Kind == access.KindAnonymous:
			err = problem.New(problem.Unauthenticated, access.RuleSignIn, "you are not signed in").Suggest("helm registry login")
		case !may(p, "pull", project):
			err = problem.New(problem.NotFound, access.RuleHidden, "project %s does not exist, or %s may not read it", project, p.Name)
		default:
			err = problem.New(problem.Denied, access.RuleDenied, "%s may not %s in project %s", p.Name, action, project).
				With("needs", "chart.push").Suggest("chartkeep grant add %s --role publisher --project %s", p.Name, project)
		}
	}
	leave()
	return func() {}, err
}

// wellFormed fails a test whose request should have ended in the door.
func wellFormed(repo string) {
	if !specName.MatchString(repo) {
		panic("the door let the name " + repo + " through")
	}
}

func (f *fake) repo(name string) *fakeRepo {
	r := f.repos[name]
	if r == nil {
		r = &fakeRepo{blobs: map[string]bool{}, manifests: map[string]*release.Manifest{}, tags: map[string]string{}}
		f.repos[name] = r
	}
	return r
}

func digestOf(like string, b []byte) string {
	if strings.HasPrefix(like, "sha512:") {
		sum := sha512.Sum512(b)
		return "sha512:" + hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (f *fake) store(repo, digest string, b []byte) error {
	if got := digestOf(digest, b); got != digest {
		return problem.New(problem.Invalid, "digest-mismatch", "the bytes that arrived do not have the digest that was announced").
			With("announced", "%s", digest).With("arrived", "%s", got)
	}
	f.blobs[digest] = b
	f.repo(repo).blobs[digest] = true
	return nil
}

func (f *fake) StartUpload(_ context.Context, c release.Caller, repo string) (string, error) {
	leave, err := f.enter(c, "push", repo)
	defer leave()
	if err != nil {
		return "", err
	}
	f.serial++
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", f.serial)
	f.uploads[id] = &fakeUpload{repo: repo}
	return id, nil
}

func (f *fake) upload(c release.Caller, repo, id string) (*fakeUpload, func(), error) {
	leave, err := f.enter(c, "push", repo)
	if err != nil {
		return nil, leave, err
	}
	u := f.uploads[id]
	if u == nil || u.repo != repo {
		return nil, leave, problem.New(problem.NotFound, "upload-unknown", "no upload %q", id)
	}
	return u, leave, nil
}

func (f *fake) UploadSize(_ context.Context, c release.Caller, repo, id string) (int64, error) {
	u, leave, err := f.upload(c, repo, id)
	defer leave()
	if err != nil {
		return 0, err
	}
	return int64(len(u.bytes)), nil
}

func (u *fakeUpload) append(offset int64, r io.Reader) error {
	if offset >= 0 && offset != int64(len(u.bytes)) {
		return problem.New(problem.Conflict, server.RuleUploadRange, "the piece begins at %d, and the upload stands at %d", offset, len(u.bytes))
	}
	b, err := io.ReadAll(r)
	u.bytes = append(u.bytes, b...)
	if err != nil {
		return fmt.Errorf("read piece: %w", err)
	}
	return nil
}

func (f *fake) AppendUpload(_ context.Context, c release.Caller, repo, id string, offset int64, r io.Reader) (int64, error) {
	u, leave, err := f.upload(c, repo, id)
	defer leave()
	if err != nil {
		return 0, err
	}
	err = u.append(offset, r)
	return int64(len(u.bytes)), err
}

func (f *fake) FinishUpload(_ context.Context, c release.Caller, repo, id string, offset int64, r io.Reader, digest string) error {
	u, leave, err := f.upload(c, repo, id)
	defer leave()
	if err != nil {
		return err
	}
	if err := u.append(offset, r); err != nil {
		return err
	}
	delete(f.uploads, id)
	return f.store(repo, digest, u.bytes)
}

func (f *fake) CancelUpload(_ context.Context, c release.Caller, repo, id string) error {
	_, leave, err := f.upload(c, repo, id)
	defer leave()
	delete(f.uploads, id)
	return err
}

func (f *fake) PutBlob(_ context.Context, c release.Caller, repo string, r io.Reader, digest string) error {
	leave, err := f.enter(c, "push", repo)
	defer leave()
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read blob: %w", err)
	}
	return f.store(repo, digest, b)
}

func (f *fake) MountBlob(_ context.Context, c release.Caller, repo, digest, from string) (bool, error) {
	if from != "" {
		wellFormed(from)
	}
	leave, err := f.enter(c, "push", repo)
	defer leave()
	if err != nil {
		return false, err
	}
	if b, ok := f.bearers[c.Principal.TokenID]; ok && from != "" {
		project, _, _ := strings.Cut(from, "/")
		if may(c.Principal, "pull", project) && !(access.Bearer{Scope: b.scopes}).Allows(from, "pull") {
			return false, problem.New(problem.Denied, ruleScope, "the bearer token was not asked for repository %s", from)
		}
	}
	for name, r := range f.repos {
		project, _, _ := strings.Cut(name, "/")
		if r.blobs[digest] && (from == "" || from == name) && may(c.Principal, "pull", project) {
			f.repo(repo).blobs[digest] = true
			return true, nil
		}
	}
	return false, nil
}

func (f *fake) find(c release.Caller, repo, digest string) ([]byte, func(), error) {
	leave, err := f.enter(c, "pull", repo)
	if err != nil {
		return nil, leave, err
	}
	r := f.repos[repo]
	switch {
	case r == nil:
		return nil, leave, problem.New(problem.NotFound, "repository-unknown", "there is no repository %s", repo)
	case !r.blobs[digest]:
		return nil, leave, problem.New(problem.NotFound, "blob-unknown", "no blob %s in %s", digest, repo)
	}
	return f.blobs[digest], leave, nil
}

func (f *fake) StatBlob(_ context.Context, c release.Caller, repo, digest string) (int64, error) {
	b, leave, err := f.find(c, repo, digest)
	defer leave()
	return int64(len(b)), err
}

func (f *fake) OpenBlob(_ context.Context, c release.Caller, repo, digest string) (release.Blob, error) {
	b, leave, err := f.find(c, repo, digest)
	defer leave()
	if err != nil {
		return nil, err
	}
	return &fakeBlob{bytes.NewReader(b), b, digest == f.damaged}, nil
}

type fakeBlob struct {
	*bytes.Reader
	bytes   []byte
	damaged bool
}

var errDamaged = problem.New(problem.Disproven, "blob-damaged", "the stored bytes are damaged")

func (b *fakeBlob) Close() error { return nil }

func (b *fakeBlob) RangeOK() error {
	if b.damaged {
		return errDamaged
	}
	return nil
}

func (b *fakeBlob) WriteTo(w io.Writer) (int64, error) {
	switch {
	case b.damaged && len(b.bytes) <= 64<<10:
		return 0, errDamaged
	case b.damaged:
		n, _ := w.Write(b.bytes[:len(b.bytes)/2])
		return int64(n), errDamaged
	}
	n, err := w.Write(b.bytes)
	return int64(n), err
}

func (f *fake) DeleteBlob(_ context.Context, c release.Caller, repo, digest string) error {
	leave, err := f.enter(c, "delete", repo)
	defer leave()
	if err != nil {
		return err
	}
	if strings.HasPrefix(repo, "charts/") {
		return problem.New(problem.Unsupported, "charts-delete", "what is in project charts stays").Suggest("chartkeep yank")
	}
	r := f.repos[repo]
	if r == nil || !r.blobs[digest] {
		return problem.New(problem.NotFound, "blob-unknown", "no blob %s", digest)
	}
	delete(r.blobs, digest)
	return nil
}

// fakeManifest is what the fake reads of a manifest.
type fakeManifest struct {
	MediaType    string              `json:"mediaType"`
	ArtifactType string              `json:"artifactType"`
	Config       *release.Descriptor `json:"config"`
	Layers       []release.Descriptor
	Manifests    []release.Descriptor
	Subject      *release.Descriptor
	Annotations  json.RawMessage
}

func (r *fakeRepo) check(m *fakeManifest) error {
	unknown := func(d string) error {
		return problem.New(problem.Invalid, "manifest-blob-unknown", "the manifest names %s, which is not in the repository", d)
	}
	if m.Config != nil && !r.blobs[m.Config.Digest] {
		return unknown(m.Config.Digest)
	}
	for _, l := range m.Layers {
		if !r.blobs[l.Digest] && !strings.Contains(l.MediaType, "nondistributable") {
			return unknown(l.Digest)
		}
	}
	for _, l := range m.Manifests {
		if r.manifests[l.Digest] == nil {
			return unknown(l.Digest)
		}
	}
	return nil
}

func (f *fake) PutManifest(_ context.Context, c release.Caller, repo string, ref release.ManifestRef, mediaType string, body []byte) (release.ManifestResult, error) {
	var res release.ManifestResult
	leave, err := f.enter(c, "push", repo)
	defer leave()
	if err != nil {
		return res, err
	}
	var m fakeManifest
	if err := json.Unmarshal(body, &m); err != nil || m.MediaType != "" && m.MediaType != mediaType {
		return res, problem.New(problem.Invalid, "manifest-form", "this is not a manifest of type %s", mediaType)
	}
	digest := digestOf(ref.Digest, body)
	if ref.Digest != "" && ref.Digest != digest {
		return res, problem.New(problem.Invalid, "digest-mismatch", "the manifest does not have the digest that was announced")
	}
	r := f.repo(repo)
	if err := r.check(&m); err != nil {
		return res, err
	}
	for _, t := range ref.Tags {
		if held, ok := r.tags[t]; ok && held != digest && strings.HasPrefix(repo, "charts/") {
			return res, problem.New(problem.Immutable, "overwrite", "release %s@%s is there already and cannot be replaced", repo, t).
				With("stored", "%s", held).With("offered", "%s", digest).Suggest("helm package . --version 1.0.1")
		}
	}
	if r.manifests[digest] == nil {
		r.manifests[digest] = newManifest(repo, digest, mediaType, &m, body)
		r.order = append(r.order, digest)
	}
	for _, t := range ref.Tags {
		r.tags[t] = digest
	}
	if strings.HasPrefix(repo, "charts/") && len(ref.Tags) > 0 {
		rel := release.Release{Project: "charts", Chart: repo[7:], Version: ref.Tags[0], File: repo[7:] + "-" + ref.Tags[0] + ".tgz", LogIndex: 7}
		r.manifests[digest].Release = &rel
		res.Receipt = &release.Receipt{Release: rel}
	}
	res.Digest, res.Subject, res.Tags = digest, r.manifests[digest].Subject, ref.Tags
	return res, nil
}

func newManifest(repo, digest, mediaType string, m *fakeManifest, body []byte) *release.Manifest {
	out := &release.Manifest{Repository: repo, Digest: digest, MediaType: mediaType, ArtifactType: m.ArtifactType, Annotations: m.Annotations, Bytes: body}
	if m.Config != nil && m.ArtifactType == "" {
		out.ArtifactType = m.Config.MediaType
	}
	if m.Subject != nil {
		out.Subject = m.Subject.Digest
	}
	return out
}

func (f *fake) lookup(c release.Caller, action, repo, ref string) (*fakeRepo, *release.Manifest, func(), error) {
	leave, err := f.enter(c, action, repo)
	if err != nil {
		return nil, nil, leave, err
	}
	r := f.repos[repo]
	if r == nil {
		return nil, nil, leave, problem.New(problem.NotFound, "repository-unknown", "there is no repository %s", repo)
	}
	digest := ref
	if d, ok := r.tags[ref]; ok {
		digest = d
	}
	if r.manifests[digest] == nil {
		return nil, nil, leave, problem.New(problem.NotFound, "manifest-unknown", "there is no manifest %s in %s", ref, repo)
	}
	return r, r.manifests[digest], leave, nil
}

func (f *fake) GetManifest(_ context.Context, c release.Caller, repo, ref string) (release.Manifest, error) {
	_, m, leave, err := f.lookup(c, "pull", repo, ref)
	defer leave()
	if err != nil {
		return release.Manifest{}, err
	}
	return *m, nil
}

func (f *fake) DeleteManifest(_ context.Context, c release.Caller, repo, ref string) error {
	r, m, leave, err := f.lookup(c, "delete", repo, ref)
	defer leave()
	if err != nil {
		return err
	}
	if strings.HasPrefix(repo, "charts/") {
		return problem.New(problem.Unsupported, "charts-delete", "a released chart cannot be deleted").Suggest("chartkeep yank charts/web@1.0.0")
	}
	if _, ok := r.tags[ref]; ok {
		delete(r.tags, ref)
		return nil
	}
	delete(r.manifests, m.Digest)
	r.order = slices.DeleteFunc(r.order, func(d string) bool { return d == m.Digest })
	for t, d := range r.tags {
		if d == m.Digest {
			delete(r.tags, t)
		}
	}
	return nil
}

func cut(list []string, after string, limit int) ([]string, bool, error) {
	if limit < 1 {
		panic("the door asked for a page without entries")
	}
	slices.Sort(list)
	from, found := slices.BinarySearch(list, after)
	if found {
		from++
	}
	list = list[from:]
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

func (f *fake) Tags(_ context.Context, c release.Caller, repo, after string, limit int) ([]string, bool, error) {
	leave, err := f.enter(c, "pull", repo)
	defer leave()
	if err != nil {
		return nil, false, err
	}
	r := f.repos[repo]
	if r == nil {
		return nil, false, problem.New(problem.NotFound, "repository-unknown", "there is no repository %s", repo)
	}
	var list []string
	for t := range r.tags {
		list = append(list, t)
	}
	return cut(list, after, limit)
}

func (f *fake) Catalog(_ context.Context, c release.Caller, after string, limit int) ([]string, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for name := range f.repos {
		if project, _, _ := strings.Cut(name, "/"); may(c.Principal, "pull", project) {
			list = append(list, name)
		}
	}
	return cut(list, after, limit)
}

func (f *fake) Referrers(_ context.Context, c release.Caller, repo, digest, artifactType string) ([]release.Descriptor, error) {
	leave, err := f.enter(c, "pull", repo)
	defer leave()
	r := f.repos[repo]
	if err != nil || r == nil {
		return nil, err
	}
	var out []release.Descriptor
	for _, d := range r.order {
		m := r.manifests[d]
		if m.Subject != digest || artifactType != "" && m.ArtifactType != artifactType {
			continue
		}
		desc := release.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(m.Bytes)), ArtifactType: m.ArtifactType}
		if m.Annotations != nil {
			if err := json.Unmarshal(m.Annotations, &desc.Annotations); err != nil {
				return nil, err
			}
		}
		out = append(out, desc)
	}
	return out, nil
}

func (f *fake) Authenticate(_ context.Context, secret string) (access.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b, ok := f.bearers[secret]; ok && time.Now().Before(b.expires) {
		b.principal.TokenID = secret
		return b.principal, nil
	}
	if name, ok := strings.CutPrefix(secret, "ckt_"); ok && name != "" {
		return user(name), nil
	}
	return access.Principal{}, problem.New(problem.Unauthenticated, server.RuleCredential, "the token is not valid")
}

func (f *fake) AuthenticateBasic(_ context.Context, name, password string) (access.Principal, error) {
	switch {
	case name == "" && password == "":
		return access.Anonymous(), nil
	case password == "secret":
		return user(name), nil
	}
	return access.Principal{}, problem.New(problem.Unauthenticated, server.RuleCredential, "user name and password do not fit")
}

func (f *fake) MintBearer(_ context.Context, c release.Caller, scopes []access.Scope, audience string) (string, []access.Scope, time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var granted []access.Scope
	for _, s := range scopes {
		got := access.Scope{Type: s.Type, Name: s.Name}
		project, _, _ := strings.Cut(s.Name, "/")
		for _, a := range s.Actions {
			if s.Type == "repository" && may(c.Principal, a, project) {
				got.Actions = append(got.Actions, a)
			}
		}
		if len(got.Actions) > 0 {
			granted = append(granted, got)
		}
	}
	f.serial++
	token := fmt.Sprintf("%s%d.%s", access.BearerPrefix, f.serial, strings.ReplaceAll(audience, ":", "-"))
	expires := time.Now().Add(access.BearerLife)
	f.bearers[token] = fakeBearer{c.Principal, granted, expires}
	return token, granted, expires, nil
}
