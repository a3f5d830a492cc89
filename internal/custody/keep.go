package custody

import (
	"context"
	"fmt"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// maxRound bounds the bundles of a log that one call of Keep keeps.
const maxRound = 64

// Keep brings the records up to the newest checkpoint of each log. It is
// called once a second, and once at the end. It waits for nobody and nobody
// for it. A database that was never kept is kept from its beginning, 16,384
// leaves in a call; Kept says how far the checkpoints are.
//
// Nothing that it finds is fatal but for a database that went back under it:
// that is an error for RolledBack, and nothing is kept then.
//
// Cost: one look-up of each head when nothing has happened. Else the names of a
// few folders, and at most three records for each bundle that grew.
func (c *Custodian) Keep(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, log := range Logs {
		if err := c.keep(ctx, log); err != nil {
			return fmt.Errorf("keep the %s log: %w", log, err)
		}
	}
	if !c.marked {
		if err := c.cfg.Database.SetKept(ctx); err != nil {
			return err
		}
		c.marked = true
	}
	return nil
}

func (c *Custodian) keep(ctx context.Context, log Log) error {
	seen, known := c.seen[log]
	if known {
		head, err := c.cfg.Database.LogHead(ctx, log)
		if err != nil || head.Size == seen.Size && head.Root == seen.Root {
			return err
		}
	}
	// First what is kept, then the head: see compare.
	kept, ok, _, err := c.shelf.newest(ctx, log, tlog.MaxSize)
	if err != nil {
		return err
	}
	if known && seen.Size > kept.Size {
		c.missing.Store(true)
		c.log.WarnContext(ctx, "records of the log were removed from the blob store; they are kept anew", "log", string(log), "kept before", seen.Size, "found", kept.Size)
	}
	head, err := c.cfg.Database.LogHead(ctx, log)
	if err != nil {
		return err
	}
	if ok && (!known || kept.Size != seen.Size) { // kept by another process, or before a restart
		db, err := c.held(ctx, log)
		if err != nil {
			return err
		}
		state, err := c.stands(ctx, log, db, kept)
		if err != nil {
			return err
		}
		if state != StateOK {
			return rolledBack{Standing{Log: log, State: state, Database: head, Kept: kept, By: recordsName}}
		}
	}
	at := max(kept.Size, c.reached[log])
	for bundles := 0; at < head.Size; bundles++ {
		if bundles == maxRound {
			return nil // a long log is kept in several rounds, so that a stop need not wait for it
		}
		to := min((at/tlog.TileHashes+1)*tlog.TileHashes, head.Size)
		if err := c.keepBundle(ctx, log, at, to); err != nil {
			return err
		}
		at = to
		c.reached[log] = at
	}
	// Last, so that a kept checkpoint is backed by kept entries.
	if head.Size > 0 {
		if err := c.keepCheckpoint(ctx, log, head); err != nil {
			return err
		}
	}
	c.seen[log], c.reached[log] = head, 0
	c.setKept(log, head.Size)
	return nil
}

// keepBundle keeps the leaves [from, to) of one bundle, and what they leave
// out. The record of entries begins with the bundle.
func (c *Custodian) keepBundle(ctx context.Context, log Log, from, to int64) error {
	n := from / tlog.TileHashes
	first := n * tlog.TileHashes
	entries, err := c.cfg.Database.LogLeaves(ctx, log, first, to)
	if err != nil {
		return err
	}
	beside, err := c.cfg.Database.Beside(ctx, log, from, entries[from-first:])
	if err != nil {
		return err
	}
	err = encodeAsides(log, from, to, beside, func(from, to int64, data []byte) error {
		return c.putAside(ctx, asideName(log, n, int(from-first), int(to-first)), data)
	})
	if err != nil {
		return err
	}
	for i := range beside {
		for _, index := range beside[i].Forget {
			if err := c.forget(ctx, log, index, beside[i].Index); err != nil {
				return err
			}
		}
	}
	data, err := tlog.EntryBundle(entries)
	if err != nil {
		return err
	}
	if err := c.cfg.Records.PutRecord(ctx, bundleName(log, n, len(entries)), data); err != nil {
		return err
	}
	if len(entries) == tlog.TileHashes {
		return c.dropNarrow(ctx, log, n)
	}
	return nil
}

// putAside keeps what leaves leave out. The state of a release may have
// changed since another process, or this one before it died, kept the same: what
// is there then stays.
func (c *Custodian) putAside(ctx context.Context, name string, data []byte) error {
	err := c.cfg.Records.PutRecord(ctx, name, data)
	if problem.KindOf(err) == problem.Conflict {
		return nil
	}
	return err
}

// dropNarrow removes the narrow records of a bundle that is kept in full.
func (c *Custodian) dropNarrow(ctx context.Context, log Log, n int64) error {
	names, err := c.cfg.Records.RecordNames(ctx, bundleFolder(log, n), "", folderWidth+1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if width, valid := group(name); valid && width < tlog.TileHashes {
			if err := c.cfg.Records.RemoveRecord(ctx, bundleFolder(log, n)+"/"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepCheckpoint keeps a checkpoint. One of the same tree may be there with
// other signatures, as while a key is changed.
func (c *Custodian) keepCheckpoint(ctx context.Context, log Log, head tlog.Checkpoint) error {
	err := c.cfg.Records.PutRecord(ctx, checkpointName(log, head.Size), head.Note)
	if problem.KindOf(err) != problem.Conflict {
		return err
	}
	held, herr := c.shelf.checkpoint(ctx, log, head.Size)
	switch {
	case herr != nil:
		return err // what is there was not signed; the next checkpoint has another name
	case held.Root != head.Root:
		return rolledBack{Standing{Log: log, State: StateForked, Database: head, Kept: held, By: recordsName}}
	}
	return nil
}
