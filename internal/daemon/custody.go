package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// verifiers are the keys that count for each log. What was kept
// last before the log got another key has no signature but the old one.
func (k *keys) verifiers() (func(custody.Log) (string, note.Verifiers), error) {
	texts := []string{k.verifier, k.auditVerifier}
	if k.rotation != nil {
		texts = append(texts, k.rotation.Old)
	}
	keys := make([]note.Verifier, len(texts))
	for i, text := range texts {
		var err error
		if keys[i], err = tlog.NewVerifier(text); err != nil {
			return nil, err
		}
	}
	list := note.VerifierList(keys...)
	return func(log custody.Log) (string, note.Verifiers) {
		if log == custody.Audits {
			return k.origin + "/audit", list
		}
		return k.origin, list
	}, nil
}

// openCustody compares the database with what is kept of it, before anything is
// written: a database that went back takes no writes.
func (d *Daemon) openCustody(ctx context.Context, blobs *blob.Dir, limits chart.Limits) error {
	verifiers, err := d.keys.verifiers()
	if err != nil {
		return err
	}
	d.custody = custody.New(custody.Config{
		Database: d.store, Records: blobs, Blobs: blobs, Limits: limits, Verifiers: verifiers, Elsewhere: d.elsewhere, Log: d.log,
	})
	standings, err := d.custody.Compare(ctx)
	if err != nil {
		return err
	}
	for i := range standings {
		st := &standings[i]
		for _, bad := range st.Bad {
			d.log.WarnContext(ctx, "what is kept of the log has something that is not its own", "log", string(st.Log), "error", bad)
		}
		switch {
		case st.Removed:
			d.log.WarnContext(ctx, "the records of the log are gone: somebody removed them, or this is not the blob store that belongs to this database; they are kept anew",
				"log", string(st.Log), "leaves", st.Database.Size)
		case st.State == custody.StateUnkept:
			d.log.InfoContext(ctx, "nothing is kept of the log yet; it is kept from its beginning now", "log", string(st.Log), "leaves", st.Database.Size)
		}
	}
	d.hold(ctx, standings)
	return nil
}

// hold stops writing when a log stands so that nothing may be written. What is
// kept need not be ahead of the database: the log's signer may be, or this
// process.
func (d *Daemon) hold(ctx context.Context, standings []custody.Standing) {
	known := false
	for i := range standings {
		known = known || standings[i].Refusal() != nil
		d.stopWriting(ctx, &standings[i])
	}
	if st := d.store.Contradicted(); st != nil && !known {
		d.stopWriting(ctx, st)
	}
}

// stopWriting makes the server read-only when a log stands so.
func (d *Daemon) stopWriting(ctx context.Context, st *custody.Standing) {
	refusal := st.Refusal()
	if refusal == nil {
		return
	}
	d.log.ErrorContext(ctx, "read-only: the database is not what was signed", "log", string(st.Log), "state", st.State,
		"database", st.Database.Size, "signed", st.Kept.Size, "known by", st.By)
	d.store.Freeze(refusal)
	if err := d.custody.NoteRollback(ctx, st); err != nil {
		d.log.ErrorContext(ctx, "note that the database went back", "error", err)
	}
}

// keepAgain is how long the keeper rests when it could not keep something: a
// disk that fails would fill the log otherwise.
const keepAgain = 30 * time.Second

// keep brings the records up to the newest checkpoints.
func (d *Daemon) keep(ctx context.Context) error {
	err := d.custody.Keep(ctx)
	if st, ok := custody.RolledBack(err); ok {
		d.stopWriting(ctx, &st)
	}
	return err
}

// keeping keeps the logs until ctx ends, and tells what happened while no
// server could.
func (d *Daemon) keeping(ctx context.Context, beside *sync.WaitGroup) {
	var rest time.Time
	beside.Go(func() {
		d.every(ctx, time.Second, "keep the log", func(ctx context.Context) error {
			if time.Now().Before(rest) {
				return nil
			}
			err := d.keep(ctx)
			if err != nil {
				rest = time.Now().Add(keepAgain)
			}
			return err
		})
	})
	beside.Go(func() { d.every(ctx, time.Minute, "tell notices", d.custody.Settle) })
	beside.Go(func() {
		if d.store.ReadOnly() != nil {
			return
		}
		if err := d.custody.Settle(ctx); err != nil {
			d.log.ErrorContext(ctx, "background work failed", "job", "tell notices", "error", err)
		}
	})
}

// keepLast keeps what the end of the other jobs has written.
func (d *Daemon) keepLast(ctx context.Context) {
	if d.store.ReadOnly() != nil {
		return
	}
	if err := d.keep(context.WithoutCancel(ctx)); err != nil {
		d.log.ErrorContext(ctx, "keep the log at the end", "error", err)
	}
}

// writing is ctx for work that makes no sense while nothing can be written.
func (d *Daemon) writing(ctx context.Context, beside *sync.WaitGroup) context.Context {
	ctx, stop := context.WithCancel(ctx)
	if d.store.ReadOnly() != nil {
		stop()
	}
	beside.Go(func() {
		defer stop()
		select {
		case <-d.store.Frozen():
			d.noteStandings(ctx)
		case <-ctx.Done():
		}
	})
	return ctx
}

// noteStandings notes how the logs stand when the store has found by itself
// that its database went back.
func (d *Daemon) noteStandings(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	standings, err := d.custody.Compare(ctx)
	if err != nil {
		d.log.ErrorContext(ctx, "compare the database with what is kept", "error", err)
	}
	d.hold(ctx, standings)
}

// historyReady fails while the database is not what was signed.
func (d *Daemon) historyReady(context.Context) error {
	if reason := d.store.ReadOnly(); reason != nil {
		return reason
	}
	return nil
}

// custodyGauges is how the database stands to what is kept of it.
type custodyGauges struct{ d *Daemon }

var (
	readOnlyGauge = prometheus.NewDesc("chartkeep_read_only", "1 while every write is refused because the database is not what was signed.", nil, nil)
	keptGauge     = prometheus.NewDesc("chartkeep_log_kept_size", "Leaves of a log that are kept in the blob store.", []string{"log"}, nil)
	missingGauge  = prometheus.NewDesc("chartkeep_records_missing", "1 when records of the log were removed from the blob store.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g custodyGauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- readOnlyGauge
	ch <- keptGauge
	ch <- missingGauge
}

// Collect implements prometheus.Collector.
func (g custodyGauges) Collect(ch chan<- prometheus.Metric) {
	flag := func(desc *prometheus.Desc, on bool) {
		value := 0.0
		if on {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	flag(readOnlyGauge, g.d.store.ReadOnly() != nil)
	flag(missingGauge, g.d.custody.Missing())
	for _, log := range custody.Logs {
		ch <- prometheus.MustNewConstMetric(keptGauge, prometheus.GaugeValue, float64(g.d.custody.Kept(log)), string(log))
	}
}
