package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/store/storetest"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// logSigner is a signer in another process, as small as its rule can be
// written: it remembers the last head, and signs what continues it. A test may
// put a fault in its way.
type logSigner struct {
	t   testing.TB
	key note.Signer

	mu     sync.Mutex
	last   tlog.Checkpoint
	signed map[int64]tlog.Hash
	asked  int
	// before may fail or wait in the place of the signer; after may do so when
	// it has signed and remembered, and may change the answer.
	before func(ctx context.Context, r tlog.WitnessRequest) error
	after  func(signed []byte) ([]byte, error)
}

func newLogSigner(t testing.TB) *logSigner {
	return &logSigner{t: t, key: storetest.Keys(t).Signer, last: tlog.Checkpoint{Root: tlog.EmptyRoot()}, signed: map[int64]tlog.Hash{}}
}

func (s *logSigner) SignHead(ctx context.Context, r tlog.WitnessRequest) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.before != nil {
		if err := s.before(ctx, r); err != nil {
			return nil, err
		}
	}
	signed, err := s.sign(r)
	if err == nil && s.after != nil {
		return s.after(signed)
	}
	return signed, err
}

func (s *logSigner) sign(r tlog.WitnessRequest) ([]byte, error) {
	head, err := tlog.ParseHeadText(r.Checkpoint)
	if err != nil || head.Origin != storetest.Origin {
		s.t.Errorf("asked for %q: %v", r.Checkpoint, err)
		return nil, errors.New("not a head of this log")
	}
	switch {
	case s.last.Note != nil && s.last.Size == head.Size && s.last.Root == head.Root:
		return s.last.Note, nil
	case r.Old != s.last.Size:
		return nil, &tlog.SignedSize{Size: s.last.Size}
	case tlog.VerifyConsistency(s.last.Size, s.last.Root, head.Size, head.Root, r.Proof) != nil:
		return nil, problem.New(problem.Disproven, "log-signer", "this does not continue what was signed")
	}
	if root, ok := s.signed[head.Size]; ok && root != head.Root {
		s.t.Errorf("two histories of %d leaves were signed", head.Size)
	}
	text, err := tlog.SignCheckpoint(head.Origin, head.Size, head.Root, s.key)
	if err != nil {
		return nil, err
	}
	s.last, err = tlog.ParseCheckpoint(text)
	s.signed[head.Size] = head.Root
	return text, err
}

// fail puts faults in the signer's way; nil takes them away.
func (s *logSigner) fail(before func(context.Context, tlog.WitnessRequest) error, after func([]byte) ([]byte, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

func (s *logSigner) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Size
}

// withSigner gives a database a signer, and no key of its own.
func withSigner(t testing.TB, d database) (database, *logSigner) {
	s := newLogSigner(t)
	d.config.Remote = s
	return d, s
}

func TestSignerSQLite(t *testing.T) { signerSuite(t, newSQLite) }

func TestSignerPostgres(t *testing.T) { signerSuite(t, newPostgres) }

// signerSuite is the suite of every store, with the key in another process.
func signerSuite(t *testing.T, place func(testing.TB) database) {
	if testing.Short() {
		t.Skip("the suite without a signer, and what a signer does at the same time, run with -short too")
	}
	t.Parallel()
	storetest.Ledger(t, func(t *testing.T) storetest.OpenLedger {
		d, _ := withSigner(t, place(t))
		return func(t *testing.T, now func() time.Time) storetest.LedgerStore { return d.open(t, now) }
	})
}

// faultOf runs a test on both databases with a signer that the test can break.
func faultOf(t *testing.T, test func(t *testing.T, d database, s *logSigner)) {
	t.Helper()
	both(t, func(t *testing.T, d database) {
		d, s := withSigner(t, d)
		test(t, d, s)
	})
}

// heads reads how many leaves are signed, and how many are stored.
func heads(t testing.TB, s *sqlstore.Store) (signed, stored int64) {
	t.Helper()
	head, err := s.LogHead(t.Context(), custody.Releases)
	if err != nil {
		t.Fatal(err)
	}
	stored, err = s.LogSize(t.Context(), custody.Releases)
	if err != nil {
		t.Fatal(err)
	}
	return head.Size, stored
}

func wantHeads(t testing.TB, s *sqlstore.Store, signed, stored int64) {
	t.Helper()
	if a, b := heads(t, s); a != signed || b != stored {
		t.Fatalf("%d leaves are signed and %d stored, want %d and %d", a, b, signed, stored)
	}
}

var errDown = errors.New("connection refused")

func refuseAll(context.Context, tlog.WitnessRequest) error { return errDown }

// TestSignerFails: what was committed and not signed is shown to nobody as
// proven, nothing is put on top of it, and whoever writes next has it signed
// first.
func TestSignerFails(t *testing.T) {
	for name, break_ := range map[string]func(s *logSigner){
		"does not answer": func(s *logSigner) { s.fail(refuseAll, nil) },
		"hangs": func(s *logSigner) {
			s.fail(func(ctx context.Context, _ tlog.WitnessRequest) error { <-ctx.Done(); return ctx.Err() }, nil)
		},
		"loses its answer": func(s *logSigner) { s.fail(nil, func([]byte) ([]byte, error) { return nil, errDown }) },
		"signs with another key": func(s *logSigner) {
			s.fail(nil, func(signed []byte) ([]byte, error) {
				cp, err := tlog.ParseCheckpoint(signed)
				if err != nil {
					return nil, err
				}
				skey, _, err := tlog.GenerateKey(strangeBytes{}, storetest.Origin)
				if err != nil {
					return nil, err
				}
				other, err := tlog.NewSigner(skey)
				if err != nil {
					return nil, err
				}
				return tlog.SignCheckpoint(cp.Origin, cp.Size, cp.Root, other)
			})
		},
		"signs another head": func(s *logSigner) {
			s.fail(nil, func(signed []byte) ([]byte, error) {
				cp, err := tlog.ParseCheckpoint(signed)
				if err != nil {
					return nil, err
				}
				return tlog.SignCheckpoint(cp.Origin, cp.Size, tlog.EmptyRoot(), s.key)
			})
		},
		"answers without an end": func(s *logSigner) {
			s.fail(func(_ context.Context, r tlog.WitnessRequest) error { return &tlog.SignedSize{Size: r.Old} }, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			faultOf(t, func(t *testing.T, d database, signer *logSigner) {
				defer sqlstore.SignPatience(200 * time.Millisecond)()
				s := d.open(t, nil)
				someProject(t, s)
				wantHeads(t, s, 1, 1)
				break_(signer)
				refused(t, record(t, s), problem.Unavailable, sqlstore.RuleSigner)
				wantHeads(t, s, 1, 2)
				refused(t, record(t, s), problem.Unavailable, sqlstore.RuleSigner)
				wantHeads(t, s, 1, 2) // nothing on top
				if n, err := s.Unsigned(t.Context()); n != 1 || err == nil {
					t.Errorf("%d leaves wait, because of %v", n, err)
				}
				readersSee(t, s, 1, 2)

				signer.fail(nil, nil)
				s.Close()
				s = d.open(t, nil) // signs what was left
				wantHeads(t, s, 2, 2)
				readersSee(t, s, 2, 2)
				if err := record(t, s); err != nil {
					t.Fatal(err)
				}
				wantHeads(t, s, 3, 3)
			})
		})
	}
}

// strangeBytes is randomness that is none.
type strangeBytes struct{}

func (strangeBytes) Read(p []byte) (int, error) {
	return copy(p, "another key, which has 32 bytes.."), nil
}

// readersSee checks every reader of the log against a signed and a stored size.
func readersSee(t testing.TB, s *sqlstore.Store, signed, stored int64) {
	t.Helper()
	ctx := t.Context()
	info, err := s.LogInfo(ctx)
	if err != nil || info.Size != signed {
		t.Fatalf("the log has %d leaves for readers, %v", info.Size, err)
	}
	for index := range stored {
		_, err := s.Prove(ctx, index)
		_, lerr := s.Leaf(ctx, index)
		if index < signed {
			if err != nil || lerr != nil {
				t.Errorf("leaf %d: %v, %v", index, err, lerr)
			}
			continue
		}
		refused(t, err, problem.Unavailable, sqlstore.RuleSigner)
		refused(t, lerr, problem.Unavailable, sqlstore.RuleSigner)
	}
	_, err = s.Prove(ctx, stored)
	refused(t, err, problem.NotFound, "log-range")
	if signed < stored {
		_, err = s.Entries(ctx, 0, int(stored))
		refused(t, err, problem.NotFound, "log-range")
		_, err = s.Tile(ctx, 0, 0, int(stored))
		refused(t, err, problem.NotFound, "log-range")
		_, err = s.Consistency(ctx, 0, stored)
		refused(t, err, problem.NotFound, "log-range")
	}
	head, err := s.StoredHead(ctx, release.ReleaseLog)
	if err != nil || head.Size != signed || string(head.Checkpoint) != string(info.Checkpoint) {
		t.Errorf("a check sees the head %+v, %v", head, err)
	}
}

// TestSignerLate: the next write of a server signs what is left, without a
// restart, and so does time alone.
func TestSignerLate(t *testing.T) {
	faultOf(t, func(t *testing.T, d database, signer *logSigner) {
		s := d.open(t, nil)
		someProject(t, s)
		signer.fail(refuseAll, nil)
		refused(t, record(t, s), problem.Unavailable, sqlstore.RuleSigner)
		signer.fail(nil, nil)
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
		wantHeads(t, s, 3, 3)
		signer.fail(refuseAll, nil)
		refused(t, record(t, s), problem.Unavailable, sqlstore.RuleSigner)
		signer.fail(nil, nil)
		for deadline := time.Now().Add(30 * time.Second); ; {
			if signed, stored := heads(t, s); signed == stored {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("nobody signed what was left")
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// TestSignerDownAtStart: a server starts and reads without its signer, at its
// first start too.
func TestSignerDownAtStart(t *testing.T) {
	faultOf(t, func(t *testing.T, d database, signer *logSigner) {
		signer.fail(refuseAll, nil)
		s := d.open(t, nil)
		_, err := s.LogInfo(t.Context())
		refused(t, err, problem.Unavailable, sqlstore.RuleSigner)
		refused(t, record(t, s), problem.Unavailable, sqlstore.RuleSigner)
		s.Close()
		signer.fail(nil, nil)
		s = d.open(t, nil)
		if info, err := s.LogInfo(t.Context()); err != nil || info.Size != 0 || info.Checkpoint == nil {
			t.Fatalf("the empty log: %+v, %v", info, err)
		}
		someProject(t, s)
		s.Close()
		signer.fail(refuseAll, nil)
		s = d.open(t, nil)
		readersSee(t, s, 1, 1)
	})
}

// copyOf is a database as it was: a copy of the file, which is a rollback when
// it is put back.
func copyOf(t testing.TB, d database, s *sqlstore.Store) database {
	t.Helper()
	s.Close()
	path := filepath.Join(t.TempDir(), "copy.db")
	exec(t, d.behind(t), "VACUUM INTO '"+path+"'")
	d.config.SQLite, d.dsn = path, "file:"+path
	return d
}

// TestSignerCatchesRollback: a database that went back, and one with another
// history, are found out by what the signer remembers, and take no writes.
func TestSignerCatchesRollback(t *testing.T) {
	d, signer := withSigner(t, newSQLite(t))
	s := d.open(t, nil)
	someProject(t, s)
	old := copyOf(t, d, s)
	s = d.open(t, nil)
	for range 3 {
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()

	t.Run("behind", func(t *testing.T) {
		s := old.open(t, nil)
		if s.ReadOnly() == nil || !strings.Contains(s.ReadOnly().Message, "went back behind") {
			t.Errorf("at the start: %v", s.ReadOnly())
		}
		refused(t, record(t, s), problem.Unavailable, "read-only")
		wantHeads(t, s, 1, 1)
		s.Close()

		// Without an answer at its start it finds out by its first write.
		signer.fail(refuseAll, nil)
		s = old.open(t, nil)
		signer.fail(nil, nil)
		refused(t, record(t, s), problem.Unavailable, "read-only")
		wantHeads(t, s, 1, 1)
		if signer.size() != 4 {
			t.Errorf("the signer has signed %d leaves", signer.size())
		}
	})
	t.Run("other history", func(t *testing.T) {
		// The intruder lets it grow beyond what was signed, with leaves of his own.
		forge(t, old.behind(t), 1, 6)
		s := old.open(t, nil)
		if p := s.ReadOnly(); p == nil || !strings.Contains(p.Message, "another history") {
			t.Fatalf("a forged history: %v", p)
		}
		refused(t, record(t, s), problem.Unavailable, "read-only")
		if a, _ := heads(t, s); a != 1 || signer.size() != 4 {
			t.Errorf("%d leaves are signed in the database, %d by the signer", a, signer.size())
		}
	})
}

// forge writes leaves [from, to) into the log and moves its head, as whoever
// owns the database can.
func forge(t testing.TB, db *sql.DB, from, to int64) {
	t.Helper()
	var hashes []tlog.Hash
	rows, err := db.Query("SELECT hash FROM leaf WHERE log = 1 ORDER BY idx")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, tlog.Hash(b))
	}
	edge, err := tlog.NewEdge(int64(len(hashes)), [][]tlog.Hash{hashes})
	if err != nil || int64(len(hashes)) != from {
		t.Fatalf("%d leaves: %v", len(hashes), err)
	}
	for i := from; i < to; i++ {
		entry := fmt.Appendf(nil, "forged %d", i)
		h := tlog.LeafHash(entry)
		edge.Append(h)
		if _, err := db.Exec("INSERT INTO leaf (log, idx, hash, entry) VALUES (1, ?, ?, ?)", i, h[:], entry); err != nil {
			t.Fatal(err)
		}
	}
	root := edge.Root()
	if _, err := db.Exec("UPDATE head SET size = ?, root = ? WHERE log = 1", to, root[:]); err != nil {
		t.Fatal(err)
	}
}

// TestSignerBehind: a signer whose folder was put back from an older copy signs
// on from there, when the log continues what it knows.
func TestSignerBehind(t *testing.T) {
	faultOf(t, func(t *testing.T, d database, signer *logSigner) {
		s := d.open(t, nil)
		someProject(t, s)
		signer.mu.Lock()
		early := signer.last
		signer.mu.Unlock()
		for range 3 {
			if err := record(t, s); err != nil {
				t.Fatal(err)
			}
		}
		signer.mu.Lock()
		signer.last = early
		signer.mu.Unlock()
		if err := record(t, s); err != nil {
			t.Fatal(err)
		}
		wantHeads(t, s, 5, 5)
	})
}

// TestSignerTwoServers lets two servers write to one PostgreSQL database under
// one signer, which fails now and then: every claim that was answered is proven
// by a checkpoint, and nobody overtakes.
func TestSignerTwoServers(t *testing.T) {
	d, signer := withSigner(t, newPostgres(t))
	a, b := d.open(t, nil), d.open(t, nil)
	p := someProject(t, a)
	n := 0
	signer.fail(func(context.Context, tlog.WitnessRequest) error {
		if n++; n%7 == 0 {
			return errDown
		}
		return nil
	}, nil)
	var wg sync.WaitGroup
	for i, s := range []*sqlstore.Store{a, b, a, b} {
		wg.Go(func() {
			for j := range 15 {
				c := storetest.Offer(p, "web", fmt.Sprintf("%d.%d.0", i, j), fmt.Sprintf("%d/%d", i, j))
				for {
					res, err := s.Claim(t.Context(), c)
					if pr, ok := problem.As(err); ok && pr.Rule == sqlstore.RuleSigner {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					if _, _, err := res.Proof.Verify(storetest.Origin, note.VerifierList(verifier(t))); err != nil {
						t.Error(err)
					}
					break
				}
			}
		})
	}
	wg.Wait()
	signer.fail(nil, nil)
	if err := record(t, b); err != nil {
		t.Fatal(err)
	}
	signed, stored := heads(t, a)
	if signed != stored || signed != 62 {
		t.Errorf("%d leaves are signed, %d stored, want 62", signed, stored)
	}
	readersSee(t, a, 62, 62)
	if a.ReadOnly() != nil || b.ReadOnly() != nil {
		t.Errorf("read-only: %v, %v", a.ReadOnly(), b.ReadOnly())
	}
}

func verifier(t testing.TB) note.Verifier {
	v, err := tlog.NewVerifier(storetest.Keys(t).VerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
