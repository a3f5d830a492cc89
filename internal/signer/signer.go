package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// MaxRequest bounds the body of a request, in bytes: a size, a proof of at most
// 63 hashes, and the text of a head.
const MaxRequest = 4 << 10

// readTimeout bounds how long a body may take.
const readTimeout = 10 * time.Second

// Config is what a Signer is made of.
type Config struct {
	Folder string           // made by Init
	Now    func() time.Time // nil is time.Now
	Log    *slog.Logger     // nil is none
}

// Signer signs the heads of one log. It is an http.Handler, and safe for
// concurrent use. Close frees its folder.
type Signer struct {
	folder *folder
	keys   *keyring
	secret [sha256.Size]byte // hash of the secret, so that all lengths compare alike
	mux    *http.ServeMux
	now    func() time.Time
	log    *slog.Logger

	mu   sync.Mutex       // held from the check to the new state
	last *tlog.Checkpoint // nil: nothing was signed
}

// Open opens a signer's folder. NotFound when there is none, Unavailable when
// another process uses it or when its state is lost, Disproven when the state is
// not what its key signed.
func Open(cfg Config) (_ *Signer, err error) {
	s := &Signer{now: cfg.Now, log: cfg.Log, mux: http.NewServeMux()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.folder, err = openFolder(cfg.Folder, false); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.folder.close()
		}
	}()
	if s.keys, err = s.folder.readKeys(); err != nil {
		return nil, err
	}
	secret, err := ReadSecret(s.folder.file(fileSecret))
	if err != nil {
		return nil, err
	}
	s.secret = sha256.Sum256([]byte(secret))
	if s.last, err = s.folder.readState(s.keys); err != nil {
		return nil, err
	}
	s.mux.HandleFunc("POST /sign-head", s.serveSign)
	s.mux.HandleFunc("GET /checkpoint", s.serveCheckpoint)
	return s, nil
}

// Close frees the folder.
func (s *Signer) Close() error {
	s.folder.close()
	return nil
}

// Origin names the log.
func (s *Signer) Origin() string { return s.keys.Origin }

// VerifierKey is the public half of the key that signs.
func (s *Signer) VerifierKey() string { return s.keys.Keys[0].Verifier }

// Size is that of the checkpoint that was signed last, -1 for none.
func (s *Signer) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return -1
	}
	return s.last.Size
}

// refusal is an answer that is not a signature.
type refusal struct {
	status int
	size   int64 // with 409
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// Sign decides on a request and returns the signed checkpoint. Errors are
// refusals, or faults of this signer.
func (s *Signer) Sign(ctx context.Context, body []byte) ([]byte, error) {
	r, err := tlog.ParseWitnessRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", messageOf(err))
	}
	head, err := tlog.ParseHeadText(r.Checkpoint)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%s", messageOf(err))
	}
	if head.Origin != s.keys.Origin {
		return nil, refuse(http.StatusForbidden, "this signer has the key of the log %s", s.keys.Origin)
	}
	if r.Old > head.Size {
		return nil, refuse(http.StatusBadRequest, "the old size %d is over that of the head, %d", r.Old, head.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && s.last.Size == head.Size && s.last.Root == head.Root {
		return s.last.Note, nil
	}
	if err := s.continues(r, head); err != nil {
		// It may be all that there ever is to show of a fork.
		s.log.WarnContext(ctx, "nothing was signed", "reason", err.text, "offered size", head.Size, "offered root", head.Root.String(), "signed", s.size())
		return nil, err
	}
	return s.sign(ctx, head)
}

// size is that of the last checkpoint, 0 for none. The caller holds mu.
func (s *Signer) size() int64 {
	if s.last == nil {
		return 0
	}
	return s.last.Size
}

// continues checks a head against the checkpoint that was signed last. A same
// size with another root fails its proof.
func (s *Signer) continues(r tlog.WitnessRequest, head tlog.Checkpoint) *refusal {
	root := tlog.EmptyRoot()
	if s.last != nil {
		root = s.last.Root
	}
	switch size := s.size(); {
	case r.Old != size:
		return &refusal{status: http.StatusConflict, size: size, text: fmt.Sprintf("the last checkpoint that was signed has %d leaves", size)}
	case tlog.VerifyConsistency(size, root, head.Size, head.Root, r.Proof) != nil:
		return refuse(http.StatusUnprocessableEntity, "the proof does not show that the log of %d leaves continues that of %d", head.Size, size)
	}
	return nil
}

// sign signs a head, makes it the state, and only then hands the signature out.
// When the state could not be made durable nobody has seen the signature.
func (s *Signer) sign(ctx context.Context, head tlog.Checkpoint) ([]byte, error) {
	signers, err := s.keys.signers(ctx, s.now())
	if err != nil {
		return nil, err
	}
	text, err := tlog.SignCheckpoint(head.Origin, head.Size, head.Root, signers...)
	if err != nil {
		return nil, err
	}
	cp, err := tlog.OpenCheckpoint(text, s.keys.Origin, s.keys.verifiers())
	if err != nil {
		return nil, fmt.Errorf("check own signature: %w", err)
	}
	if err := s.folder.writeState(cp); err != nil {
		return nil, err
	}
	s.last = &cp
	return cp.Note, nil
}

// ServeHTTP implements http.Handler. Nobody without the secret gets further than
// here, nor is his body read.
func (s *Signer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := sha256.Sum256([]byte(given))
	if subtle.ConstantTimeCompare(sum[:], s.secret[:]) != 1 {
		rw.Header().Set("WWW-Authenticate", "Bearer")
		s.answer(rw, r, refuse(http.StatusUnauthorized, "the secret is missing or wrong"))
		return
	}
	s.mux.ServeHTTP(rw, r)
}

func (s *Signer) serveSign(rw http.ResponseWriter, r *http.Request) {
	// A connection that cannot have a deadline is one of a test.
	_ = http.NewResponseController(rw).SetReadDeadline(time.Now().Add(readTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, MaxRequest))
	if err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		s.answer(rw, r, refuse(status, "the request could not be read to its end within %d bytes", MaxRequest))
		return
	}
	signed, err := s.Sign(r.Context(), body)
	if err != nil {
		s.answer(rw, r, err)
		return
	}
	s.write(rw, signed)
}

func (s *Signer) serveCheckpoint(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last == nil {
		s.answer(rw, r, refuse(http.StatusNotFound, "nothing was signed yet"))
		return
	}
	s.write(rw, last.Note)
}

func (s *Signer) write(rw http.ResponseWriter, text []byte) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	_, _ = rw.Write(text) // a client that went away asks again
}

// answer writes a refusal; what is none is our own fault, or the key's, and
// logged.
func (s *Signer) answer(rw http.ResponseWriter, r *http.Request, err error) {
	no, ok := errors.AsType[*refusal](err)
	if !ok {
		s.log.ErrorContext(r.Context(), "nothing was signed", "error", err)
		no = refuse(http.StatusServiceUnavailable, "the signer failed; nothing was signed")
	}
	h := rw.Header()
	h.Set("Cache-Control", "no-store")
	if no.status == http.StatusConflict {
		h.Set("Content-Type", tlog.MediaWitnessSize)
		rw.WriteHeader(no.status)
		_, _ = rw.Write(tlog.MarshalWitnessSize(no.size))
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	rw.WriteHeader(no.status)
	_, _ = io.WriteString(rw, no.text+"\n")
}

func messageOf(err error) string {
	if p, ok := problem.As(err); ok {
		return p.Message
	}
	return err.Error()
}

// verifiersOf makes a list of keys.
func verifiersOf(vkeys ...string) (note.Verifiers, error) {
	var list []note.Verifier
	for _, k := range vkeys {
		v, err := tlog.NewVerifier(k)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}

// ReadSecret reads a file with a secret: one line of 16 to 256 bytes.
func ReadSecret(path string) (string, error) {
	b, err := durable.Read(path, 512)
	if err != nil {
		return "", problem.New(problem.Unavailable, "signer-secret", "the secret of the signer cannot be read from %s", path).Because(err)
	}
	b = bytes.TrimSpace(b)
	if len(b) < 16 || len(b) > 256 || bytes.ContainsAny(b, "\r\n \t") {
		return "", problem.New(problem.Invalid, "signer-secret", "the file %s does not have a secret of 16 to 256 characters in one line", path)
	}
	return string(b), nil
}
