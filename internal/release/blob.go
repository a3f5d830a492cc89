package release

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// UploadLife is how long an upload may rest before it is forgotten.
const UploadLife = 24 * time.Hour

// maxUploads bounds the uploads that one principal has under way in this
// process, so that nobody fills the disk by beginning and never ending.
const maxUploads = 1000

// uploadSlots counts uploads by principal. A restart forgets the count; the
// sweep of abandoned uploads bounds what is left.
type uploadSlots struct {
	mu    sync.Mutex
	count map[string]int      // principal -> uploads under way
	open  map[string]openSlot // by upload
}

type openSlot struct {
	principal string
	began     time.Time
}

func (u *uploadSlots) begin(principal, id string, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open, u.count = map[string]openSlot{}, map[string]int{}
	}
	if u.count[principal] >= maxUploads {
		return problem.New(problem.Unavailable, "uploads", "there are %d unfinished uploads of yours already", maxUploads).
			Suggest("finish or cancel some of them; they are forgotten after %s", UploadLife)
	}
	u.count[principal]++
	u.open[id] = openSlot{principal, now}
	return nil
}

func (u *uploadSlots) end(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.free(id)
}

func (u *uploadSlots) free(id string) {
	slot, ok := u.open[id]
	if !ok {
		return
	}
	delete(u.open, id)
	if u.count[slot.principal]--; u.count[slot.principal] == 0 {
		delete(u.count, slot.principal)
	}
}

// sweep frees the slots of uploads that were abandoned.
func (u *uploadSlots) sweep(olderThan time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, slot := range u.open {
		if slot.began.Before(olderThan) {
			u.free(id)
		}
	}
}

// Blob is bytes that are being served. ReadAt serves ranges, and may be used
// only after RangeOK has returned nil; WriteTo serves the whole and withholds
// the end until the digest has matched.
type Blob interface {
	io.ReaderAt
	io.WriterTo
	io.Closer
	Size() int64
	RangeOK() error
}

type blob struct {
	service *Service
	file    BlobFile
	digest  string
	of      *Release // whose archive it is, where that is known
}

func (b *blob) ReadAt(p []byte, off int64) (int, error) { return b.file.ReadAt(p, off) }
func (b *blob) Close() error                            { return b.file.Close() }
func (b *blob) Size() int64                             { return b.file.Size() }

func (b *blob) WriteTo(w io.Writer) (int64, error) {
	if m, ok := b.file.(memory); ok && m.proven {
		if _, err := m.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		return m.WriteTo(w)
	}
	if _, err := b.file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := digest.Verified(b.file, b.digest).WriteTo(w)
	if err == nil {
		b.service.verified.add(b.digest)
	} else if problem.KindOf(err) == problem.Disproven {
		b.service.damaged(b)
	}
	return n, err
}

func (b *blob) RangeOK() error {
	if b.service.verified.has(b.digest) && !b.service.doubts.blob(b.digest) {
		return nil
	}
	_, err := b.WriteTo(io.Discard)
	return err
}

// memory is a small blob as a BlobFile.
type memory struct {
	*bytes.Reader
	proven bool // its bytes were found to have their digest
}

func (memory) Close() error { return nil }

// open opens a blob wherever it lives. Who may see it was asked before.
func (s *Service) open(ctx context.Context, d string) (*blob, error) {
	b, err := s.store.SmallBlob(ctx, d)
	if err == nil {
		return &blob{service: s, file: memory{bytes.NewReader(b), false}, digest: d}, nil
	}
	if problem.KindOf(err) != problem.NotFound {
		return nil, err
	}
	return s.openStored(ctx, d)
}

// openLarge is open for what is known to be an archive.
func (s *Service) openLarge(ctx context.Context, d string) (*blob, error) {
	if b, ok := s.recent.get(d); ok {
		return &blob{service: s, file: memory{bytes.NewReader(b), true}, digest: d}, nil
	}
	f, err := s.openStored(ctx, d)
	if err != nil || f.Size() > maxRecentBlob || !s.verified.has(d) {
		return f, err // what is read once is not worth keeping
	}
	defer f.Close()
	buf := bytes.NewBuffer(make([]byte, 0, f.Size()))
	if _, err := f.WriteTo(buf); err != nil {
		return nil, err
	}
	s.recent.put(d, buf.Bytes())
	return &blob{service: s, file: memory{bytes.NewReader(buf.Bytes()), true}, digest: d}, nil
}

// recentBlobs keeps small archives that are read for the second time, and were
// found true, since most pulls are of few charts. It is bounded by forgetting
// everything.
type recentBlobs struct {
	mu    sync.RWMutex
	known map[string][]byte
	size  int
}

// Bounds of recentBlobs, in bytes: of one blob, and of all.
const (
	maxRecentBlob = 128 << 10
	maxRecent     = 64 << 20
)

func (r *recentBlobs) get(d string) ([]byte, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	b, ok := r.known[d]
	return b, ok
}

// drop forgets bytes that have to go.
func (r *recentBlobs) drop(d string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.known[d]; ok {
		r.size -= len(b)
		delete(r.known, d)
	}
}

func (r *recentBlobs) put(d string, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || r.size+len(b) > maxRecent {
		r.known, r.size = map[string][]byte{}, 0
	}
	if _, ok := r.known[d]; !ok {
		r.known[d] = b
		r.size += len(b)
	}
}

// missing says that a blob which the database names is not in the blob store:
// our fault, and never a plain "not found".
func missing(err error, d string) error {
	if problem.KindOf(err) != problem.NotFound {
		return err
	}
	return problem.New(problem.Unavailable, "blob-lost", "the bytes of %s are missing from the blob store", d).
		Suggest("tell the operator of this server: the blob must be restored from a backup").Because(err)
}

// mayUpload asks for the right to bring bytes into a repository, before
// anything is known of what they are.
func (s *Service) mayUpload(ctx context.Context, c Caller, repo string) (Project, error) {
	p, rest, err := s.repository(ctx, c, repo)
	if err != nil {
		return p, err
	}
	push := access.Request{Action: access.ChartPush, Project: p.Name, ProjectPublic: p.Public, Chart: rest}
	attach := push
	attach.Action = access.AttestAttach
	if s.could(c, push) || s.could(c, attach) {
		return p, nil
	}
	return p, s.refuse(ctx, c, push)
}

// repository finds the project of a repository whose name is well formed.
func (s *Service) repository(ctx context.Context, c Caller, repo string) (p Project, rest string, err error) {
	if !chart.IsRepository(repo) {
		return p, "", problem.New(problem.Invalid, "repository-name", "%.120q is not a name for a repository", repo).
			Suggest("use lower-case segments: project/chart")
	}
	return s.find(ctx, c, repo)
}

func (s *Service) uploadID(repo, inner string) string { return inner + s.mac("upload", repo, inner) }

func (s *Service) innerID(repo, id string) (string, error) {
	const macLen = 24
	if len(id) > macLen {
		inner := id[:len(id)-macLen]
		if s.uploadID(repo, inner) == id {
			return inner, nil
		}
	}
	return "", problem.New(problem.NotFound, "upload-unknown", "repository %s has no upload %.80s", repo, id).
		Suggest("begin the upload again")
}

// StartUpload begins an upload into a repository.
func (s *Service) StartUpload(ctx context.Context, c Caller, repo string) (string, error) {
	if _, err := s.mayUpload(ctx, c, repo); err != nil {
		return "", err
	}
	u, err := s.blobs.Begin(ctx)
	if err != nil {
		return "", err
	}
	defer u.Cancel()
	who, _ := actor(c)
	if err := s.uploads.begin(who, u.ID(), s.now()); err != nil {
		return "", err
	}
	return s.uploadID(repo, u.ID()), u.Suspend()
}

// UploadSize says how many bytes of an upload have arrived.
func (s *Service) UploadSize(ctx context.Context, c Caller, repo, id string) (int64, error) {
	if _, err := s.mayUpload(ctx, c, repo); err != nil {
		return 0, err
	}
	inner, err := s.innerID(repo, id)
	if err != nil {
		return 0, err
	}
	return s.blobs.UploadSize(ctx, inner)
}

// resume takes an upload up at an offset; -1 is wherever it stands.
func (s *Service) resume(ctx context.Context, repo, id string, offset int64) (Upload, error) {
	inner, err := s.innerID(repo, id)
	if err != nil {
		return nil, err
	}
	u, err := s.blobs.Resume(ctx, inner)
	if err != nil {
		return nil, err
	}
	if offset >= 0 && offset != u.Size() {
		at := u.Size()
		if err := u.Suspend(); err != nil {
			return nil, err
		}
		return nil, problem.New(problem.Conflict, "upload-range", "the upload stands at byte %d, and the chunk begins at %d", at, offset).
			With("stands at", "%d", at).Suggest("send the bytes from %d on", at)
	}
	return u, nil
}

// AppendUpload adds bytes to an upload and says where it then stands. When r
// fails, what it gave is kept, and the upload can be taken up there.
func (s *Service) AppendUpload(ctx context.Context, c Caller, repo, id string, offset int64, r io.Reader) (int64, error) {
	if _, err := s.mayUpload(ctx, c, repo); err != nil {
		return 0, err
	}
	u, err := s.resume(ctx, repo, id, offset)
	if err != nil {
		if problem.KindOf(err) == problem.Conflict {
			inner, _ := s.innerID(repo, id)
			if at, serr := s.blobs.UploadSize(ctx, inner); serr == nil {
				return at, err
			}
		}
		return 0, err
	}
	_, rerr := u.ReadFrom(r)
	size := u.Size()
	if err := u.Suspend(); err != nil && rerr == nil {
		rerr = err
	}
	return size, rerr
}

// FinishUpload adds the last bytes and makes the upload a blob of the
// repository, if they have the digest.
func (s *Service) FinishUpload(ctx context.Context, c Caller, repo, id string, offset int64, r io.Reader, want string) error {
	p, err := s.mayUpload(ctx, c, repo)
	if err != nil {
		return err
	}
	if err := digest.Check(want); err != nil {
		return err
	}
	u, err := s.resume(ctx, repo, id, offset)
	if err != nil {
		return err
	}
	if _, err := u.ReadFrom(r); err != nil {
		u.Suspend() // the client's failure; the upload can be taken up again
		return err
	}
	s.uploads.end(u.ID())
	return s.keep(ctx, c, p, repo, u, want)
}

// PutBlob stores a blob that comes in one piece.
func (s *Service) PutBlob(ctx context.Context, c Caller, repo string, r io.Reader, want string) error {
	p, err := s.mayUpload(ctx, c, repo)
	if err != nil {
		return err
	}
	if err := digest.Check(want); err != nil {
		return err
	}
	u, err := s.blobs.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := u.ReadFrom(r); err != nil {
		u.Cancel()
		return err
	}
	return s.keep(ctx, c, p, repo, u, want)
}

// keep makes an upload a blob of a repository. What is small and no archive
// goes to the database, where it becomes durable with the manifest that names
// it; the rest goes to the blob store, durable now.
func (s *Service) keep(ctx context.Context, c Caller, p Project, repo string, u Upload, want string) error {
	defer u.Cancel()
	if err := s.refuseUpload(ctx, c, &p, repo, want); err != nil {
		return err
	}
	size := u.Size()
	if size <= MaxSmallBlob {
		b, err := u.Bytes(MaxSmallBlob)
		if err != nil {
			return err
		}
		if !isGzip(b) {
			if !digest.Matches(b, want) {
				return problem.New(problem.Invalid, "digest-mismatch", "the bytes that arrived do not have the digest that they were sent under").
					With("stated", "%s", want).With("arrived", "%s", digest.SHA256(b)).With("bytes", "%d", size).
					Suggest("send the blob again")
			}
			return s.store.LinkBlob(ctx, p.ID, repo, Link{want, size, true}, b)
		}
	}
	if err := s.notErasing(ctx, want); err != nil {
		return err
	}
	if _, _, err := u.Commit(ctx, want); err != nil {
		return err
	}
	return s.store.LinkBlob(ctx, p.ID, repo, Link{want, size, false}, nil)
}

// notErasing refuses to store a large blob whose bytes are about to be removed,
// see Protection.Erasing.
func (s *Service) notErasing(ctx context.Context, d string) error {
	erasing, err := s.store.Erasing(ctx, d)
	if err == nil && erasing {
		err = problem.New(problem.Unavailable, "blob-erasing", "the bytes of %s are being removed, since a release that had them has a tombstone", d).
			Suggest("push again in %s", 2*EraseAfter)
	}
	return err
}

// refuseUpload refuses, and records, a blob of a release that is withheld.
func (s *Service) refuseUpload(ctx context.Context, c Caller, p *Project, repo, d string) error {
	err := s.store.CheckWithheld(ctx, repo, d)
	if e, ok := problem.As(err); ok && (e.Rule == RuleQuarantine || e.Rule == RuleTombstone) {
		e.Message += "; nothing was stored"
		return s.refused(ctx, c, audit.RefusedWithheld, audit.Resource{Project: p.Name, Chart: strings.TrimPrefix(repo, p.Name+"/"), Digest: d}, e, nil)
	}
	return err
}

func isGzip(b []byte) bool { return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b }

// CancelUpload forgets an upload.
func (s *Service) CancelUpload(ctx context.Context, c Caller, repo, id string) error {
	if _, err := s.mayUpload(ctx, c, repo); err != nil {
		return err
	}
	u, err := s.resume(ctx, repo, id, -1)
	if err != nil {
		return err
	}
	s.uploads.end(u.ID())
	return u.Cancel()
}

// MountBlob links a blob that another repository has. It says false where the
// client has to upload it: where from has no such blob, or one that the caller
// may not read. With from "" it looks among the repositories that hold the
// blob, sixteen at most.
func (s *Service) MountBlob(ctx context.Context, c Caller, repo, d, from string) (bool, error) {
	p, err := s.mayUpload(ctx, c, repo)
	if err != nil {
		return false, err
	}
	if err := digest.Check(d); err != nil {
		return false, err
	}
	holders := []string{from}
	if from == "" {
		if holders, err = s.store.BlobHolders(ctx, d, 16); err != nil {
			return false, err
		}
	}
	for _, holder := range holders {
		l, err := s.link(ctx, c, holder, d)
		if p, ok := problem.As(err); ok && p.Rule == ruleScope && from != "" {
			return false, err // the client can ask for a token with both repositories
		}
		if err != nil {
			continue // unknown and not allowed look alike
		}
		return true, s.store.LinkBlob(ctx, p.ID, repo, l, nil)
	}
	return false, nil
}

// mayRead asks for the right to read a repository.
func (s *Service) mayRead(ctx context.Context, c Caller, repo string) (Project, error) {
	p, rest, err := s.repository(ctx, c, repo)
	if err != nil {
		return p, err
	}
	return p, s.allow(ctx, c, &p, rest, access.ChartPull, false)
}

// StatBlob says how large a blob of a repository is. To whoever could push
// there, a blob that is withheld is not there: clients ask before they upload,
// and a push shall come as far as the answer that says why it is refused.
func (s *Service) StatBlob(ctx context.Context, c Caller, repo, d string) (int64, error) {
	l, err := s.link(ctx, c, repo, d)
	if e, ok := problem.As(err); ok && (e.Rule == RuleQuarantine || e.Rule == RuleTombstone) {
		p, rest, ferr := s.repository(ctx, c, repo)
		if ferr == nil && s.could(c, access.Request{Action: access.ChartPush, Project: p.Name, ProjectPublic: p.Public, Chart: rest}) {
			err = problem.New(problem.NotFound, "blob-unknown", "repository %s does not take the blob %s", repo, d)
		}
	}
	return l.Size, err
}

// link finds a blob of a repository that the caller may read.
func (s *Service) link(ctx context.Context, c Caller, repo, d string) (Link, error) {
	if _, err := s.mayRead(ctx, c, repo); err != nil {
		return Link{}, err
	}
	if err := digest.Check(d); err != nil {
		return Link{}, err
	}
	return s.store.BlobLink(ctx, repo, d)
}

// OpenBlob opens a blob of a repository.
func (s *Service) OpenBlob(ctx context.Context, c Caller, repo, d string) (Blob, error) {
	l, err := s.link(ctx, c, repo, d)
	if err != nil {
		return nil, err
	}
	open := s.openLarge
	if l.Small {
		open = s.open
	}
	b, err := open(ctx, d)
	if err != nil {
		return nil, err // not b: a nil *blob is no nil Blob
	}
	return b, nil
}

// DeleteBlob hides a blob of an artifacts project.
func (s *Service) DeleteBlob(ctx context.Context, c Caller, repo, d string) error {
	p, err := s.mayDelete(ctx, c, repo, d)
	if err != nil {
		return err
	}
	if err := digest.Check(d); err != nil {
		return err
	}
	ev := s.event(c)
	ev.Resource = audit.Resource{Project: p.Name, Chart: strings.TrimPrefix(repo, p.Name+"/"), Digest: d}
	return s.store.UnlinkBlob(ctx, repo, d, ev, s.now())
}

// mayDelete lets deletes through to artifacts projects alone; elsewhere the
// attempt is recorded and refused by design.
func (s *Service) mayDelete(ctx context.Context, c Caller, repo, ref string) (Project, error) {
	p, rest, err := s.repository(ctx, c, repo)
	if err != nil {
		return p, err
	}
	if p.Kind == KindArtifacts {
		return p, s.allow(ctx, c, &p, rest, access.ArtifactDelete, false)
	}
	if err := s.allow(ctx, c, &p, rest, access.ChartPull, false); err != nil {
		return p, err
	}
	return p, s.refuseDelete(ctx, c, &p, rest, ref)
}

// yankable is the version of a command to yank what was to be deleted.
func yankable(ref string) string {
	if ref == "" || strings.Contains(ref, ":") {
		return "VERSION"
	}
	return chart.VersionForTag(ref)
}

func (s *Service) refuseDelete(ctx context.Context, c Caller, p *Project, chartName, ref string) error {
	e := problem.New(problem.Unsupported, "delete", "nothing that was released in project %s can be deleted", p.Name).
		With("asked for", "%s %s", chartName, ref).
		Suggest("chartkeep yank %s/%s@%s --reason broken", p.Name, chartName, yankable(ref))
	if c.Principal.Kind == access.KindAnonymous || c.Principal.Kind == "" {
		return e // counted with the other unauthenticated failures
	}
	return s.refused(ctx, c, audit.DeleteRefused, audit.Resource{Project: p.Name, Chart: chartName, Version: ref}, e, nil)
}
