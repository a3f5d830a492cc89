package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/release"
)

// The rows of table cosigned.
const (
	cosignedNewest = "newest"
	cosignedQuorum = "quorum"
)

// Cosigned implements release.Witnessings. On SQLite every change of it is made
// by this process, which keeps it in memory. Cost: two rows.
func (s *Store) Cosigned(ctx context.Context) (release.Cosigned, error) {
	if c := s.cosigned.Load(); c != nil && !s.dialect.postgres {
		return *c, nil
	}
	var out release.Cosigned
	err := s.query(ctx, "SELECT kind, size, checkpoint FROM cosigned", func(r scanner) error {
		var kind string
		var size int64
		var text []byte
		if err := r.Scan(&kind, &size, &text); err != nil {
			return err
		}
		switch kind {
		case cosignedNewest:
			out.Newest, out.NewestSize = text, size
		case cosignedQuorum:
			out.Quorum, out.QuorumSize = text, size
		}
		return nil
	})
	if err != nil {
		return release.Cosigned{}, err
	}
	// A writer that was faster has the newer ones.
	s.cosigned.CompareAndSwap(nil, &out)
	return out, nil
}

// KeepCosigned implements release.Witnessings. Cost: two look-ups by key and at
// most two rows.
func (s *Store) KeepCosigned(ctx context.Context, size int64, join func([]byte) ([]byte, bool, error)) error {
	return s.write(ctx, true, func(b *batch) error {
		have, err := b.cosigned()
		if err != nil {
			return err
		}
		var kept []byte
		switch {
		case have.Newest != nil && have.NewestSize == size:
			kept = have.Newest
		case have.Quorum != nil && have.QuorumSize == size:
			kept = have.Quorum
		}
		text, quorum, err := join(kept)
		if err != nil {
			return err
		}
		if have.Newest == nil || have.NewestSize <= size {
			have.Newest, have.NewestSize = text, size
			if err := b.putCosigned(cosignedNewest, size, text); err != nil {
				return err
			}
		}
		if quorum && (have.Quorum == nil || have.QuorumSize <= size) {
			have.Quorum, have.QuorumSize = text, size
			if err := b.putCosigned(cosignedQuorum, size, text); err != nil {
				return err
			}
		}
		b.witnessed = &have
		return nil
	})
}

// covering is the checkpoint that says most of a leaf: the newest with a quorum
// that has it, else the newest that anybody cosigned; nil when none has it.
func covering(c release.Cosigned, index int64) []byte {
	switch {
	case c.Quorum != nil && index < c.QuorumSize:
		return c.Quorum
	case c.Newest != nil && index < c.NewestSize:
		return c.Newest
	}
	return nil
}

// cosigned reads what is kept. The heads' lock, which every durable batch has,
// makes replicas take turns.
func (b *batch) cosigned() (release.Cosigned, error) {
	if b.witnessed != nil {
		return *b.witnessed, nil
	}
	var out release.Cosigned
	for kind, at := range map[string]struct {
		text *[]byte
		size *int64
	}{cosignedNewest: {&out.Newest, &out.NewestSize}, cosignedQuorum: {&out.Quorum, &out.QuorumSize}} {
		err := b.w.row(b.ctx, "SELECT size, checkpoint FROM cosigned WHERE kind = ?", kind).Scan(at.size, at.text)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return release.Cosigned{}, err
		}
	}
	return out, nil
}

func (b *batch) putCosigned(kind string, size int64, text []byte) error {
	_, err := b.w.exec(b.ctx, `INSERT INTO cosigned (kind, size, checkpoint) VALUES (?, ?, ?)
		ON CONFLICT (kind) DO UPDATE SET size = excluded.size, checkpoint = excluded.checkpoint WHERE cosigned.size <= excluded.size`, kind, size, text)
	return err
}

// WitnessStates implements release.Witnessings. Cost: all of them.
func (s *Store) WitnessStates(ctx context.Context) (map[string]release.WitnessState, error) {
	out := map[string]release.WitnessState{}
	err := s.query(ctx, "SELECT vkey, state_json FROM witness", func(r scanner) error {
		var vkey, text string
		if err := r.Scan(&vkey, &text); err != nil {
			return err
		}
		var st release.WitnessState
		if err := json.Unmarshal([]byte(text), &st); err != nil {
			return fmt.Errorf("read state of witness %s: %w", vkey, err)
		}
		out[vkey] = st
		return nil
	})
	return out, err
}

// SetWitnessState implements release.Witnessings. One row by key.
func (s *Store) SetWitnessState(ctx context.Context, vkey string, now time.Time, change func(release.WitnessState) (release.WitnessState, *audit.Event)) error {
	states, err := s.WitnessStates(ctx)
	if err != nil {
		return err
	}
	// Whether there is an event decides how it is written. Should that have
	// changed when it is the turn of the transaction, it is done over.
	_, ev := change(states[vkey])
	durable := ev != nil
	for {
		again := false
		err := s.write(ctx, durable, func(b *batch) error {
			again = false
			var st release.WitnessState
			var text string
			err := b.w.row(b.ctx, "SELECT state_json FROM witness WHERE vkey = ?"+s.dialect.forUpdate(), vkey).Scan(&text)
			if err == nil {
				err = json.Unmarshal([]byte(text), &st)
			}
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("read state of witness %s: %w", vkey, err)
			}
			st, ev := change(st)
			if ev != nil && !durable {
				again = true
				return nil
			}
			out, err := json.Marshal(st)
			if err != nil {
				return err
			}
			if _, err := b.w.exec(b.ctx, "INSERT INTO witness (vkey, state_json) VALUES (?, ?) ON CONFLICT (vkey) DO UPDATE SET state_json = excluded.state_json", vkey, string(out)); err != nil {
				return err
			}
			if ev == nil {
				return nil
			}
			if ev.Time.IsZero() {
				ev.Time = now
			}
			return b.record(*ev)
		})
		if err != nil || !again {
			return err
		}
		durable = true
	}
}

// LeaseWitnesses implements release.Witnessings. One row.
func (s *Store) LeaseWitnesses(ctx context.Context, holder string, now, until time.Time) (bool, error) {
	var taken bool
	err := s.write(ctx, false, func(b *batch) error {
		n, err := b.w.exec(b.ctx, "UPDATE witness_lease SET holder = ?, lease_end = ? WHERE id = 1 AND (holder = ? OR lease_end <= ?)", holder, millis(until), holder, millis(now))
		taken = n == 1
		return err
	})
	return taken, err
}
