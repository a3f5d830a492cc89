package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// scrubbing is how the service compares what is stored with the log.
func (d *Daemon) scrubbing() (release.ScrubConfig, error) {
	c := release.ScrubConfig{Stored: d.store, Scrubs: d.store}
	var err error
	if c.Rate, err = d.cfg.scrubRate(); err != nil {
		return c, err
	}
	if c.Every, err = d.cfg.scrubEvery(); err != nil {
		return c, err
	}
	verifiers, err := d.keys.verifiers()
	if err != nil {
		return c, err
	}
	_, c.LogKeys = verifiers(custody.Releases)
	_, c.AuditKeys = verifiers(custody.Audits)
	return c, nil
}

// keepingRefused is how copies of refused uploads are kept: beside the blobs,
// in a store that no door looks into.
func (d *Daemon) keepingRefused() (release.RefusedConfig, error) {
	keep, err := d.cfg.refusedKeep()
	if err != nil || keep == 0 {
		return release.RefusedConfig{}, err
	}
	copies, err := blob.OpenDir(filepath.Join(d.folder.file(dirBlobs), dirRefused))
	return release.RefusedConfig{Copies: copies, Rows: d.store, Keep: keep}, err
}

// publishAuditKey puts the public key of the audit log beside that of the log.
// It follows from the log's key, so that it is only ever made anew.
func (d *folder) publishAuditKey(vkey string) error {
	b, err := os.ReadFile(d.file(fileAuditVerifier))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeOnce(d.file(fileAuditVerifier), vkey+"\n", 0o644)
	case err != nil:
		return err
	case strings.TrimSpace(string(b)) != vkey:
		return problem.New(problem.Unavailable, "log-key", "%s and %s do not belong together", d.file(fileLogKey), d.file(fileAuditVerifier)).
			Suggest("find out who changed %s; it is made anew when it is gone", fileAuditVerifier)
	}
	return nil
}

// scrubEvery is ScrubEvery.
func (c *Config) scrubEvery() (time.Duration, error) {
	d, err := watch.ParseDuration(c.ScrubEvery)
	if err != nil || time.Duration(d) < time.Hour {
		return 0, problem.New(problem.Invalid, "config-value", "scrub-every is a span of at least an hour such as 7d, not %q", c.ScrubEvery)
	}
	return time.Duration(d), nil
}

// refusedKeep is RefusedKeep; 0 keeps nothing.
func (c *Config) refusedKeep() (time.Duration, error) {
	if c.RefusedKeep == "0" {
		return 0, nil
	}
	d, err := watch.ParseDuration(c.RefusedKeep)
	if err != nil || time.Duration(d) < time.Hour {
		return 0, problem.New(problem.Invalid, "config-value", "refused-keep is a span of at least an hour such as 30d, or 0 for none, not %q", c.RefusedKeep)
	}
	return time.Duration(d), nil
}

// scrubRate is ScrubRate in bytes a second; 0 is no bound.
func (c *Config) scrubRate() (int64, error) {
	digits, unit := c.ScrubRate, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(c.ScrubRate, suffix); ok {
			digits, unit = n, factor
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 || n > 0 && n*unit < 64<<10 {
		return 0, problem.New(problem.Invalid, "config-value", "scrub-rate is how much is read each second, such as 32MiB, at least 64KiB, or 0 for no bound, not %q", c.ScrubRate)
	}
	return n * unit, nil
}

// scrubGauges are the metrics of the scrub.
func (d *Daemon) scrubGauges() []prometheus.Collector {
	read := func(pick func(open int, last time.Time, bytes int64) float64) func() float64 {
		return func() float64 {
			ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
			defer stop()
			open, last, bytes, err := d.service.ScrubGauges(ctx)
			if err != nil {
				return -1
			}
			return pick(open, last, bytes)
		}
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "chartkeep_integrity_findings", Help: "Stored things that are not as the log says, as far as this process knows.",
		}, read(func(open int, _ time.Time, _ int64) float64 { return float64(open) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "chartkeep_scrub_last_success_timestamp_seconds", Help: "When the last complete comparison with the log ended; 0 for never.",
		}, read(func(_ int, last time.Time, _ int64) float64 {
			if last.IsZero() {
				return 0
			}
			return float64(last.Unix())
		})),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "chartkeep_scrub_bytes", Help: "Bytes of blobs that the last complete and the present comparison have hashed.",
		}, read(func(_ int, _ time.Time, bytes int64) float64 { return float64(bytes) })),
	}
}
