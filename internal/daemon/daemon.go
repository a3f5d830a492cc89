// Package daemon is the one place that knows every room: it reads the
// configuration, makes the stores, the use cases and the doors, connects them,
// and sees to start, reload and shutdown.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/audit"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/custody"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/remote"
	"github.com/chartkeep/chartkeep/internal/remote/notify"
	"github.com/chartkeep/chartkeep/internal/remote/witness"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/server/api"
	"github.com/chartkeep/chartkeep/internal/server/chartrepo"
	"github.com/chartkeep/chartkeep/internal/server/metrics"
	"github.com/chartkeep/chartkeep/internal/server/oci"
	"github.com/chartkeep/chartkeep/internal/server/tiles"
	"github.com/chartkeep/chartkeep/internal/server/web"
	"github.com/chartkeep/chartkeep/internal/signature/keyless"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/upgrade"
	"github.com/chartkeep/chartkeep/internal/watch"
)

// Daemon is a server that is put together and listens.
type Daemon struct {
	cfg     Config
	log     *slog.Logger
	folder  *folder
	keys    *keys
	store   *sqlstore.Store
	service *release.Service
	custody *custody.Custodian
	watch   *watch.Service
	judge   *upgrade.Service
	out     *remote.Client
	// asking and witnesses are set when the log has witnesses.
	asking    *witness.Client
	witnesses release.WitnessConfig
	handler   *server.Server
	late      *lateStore
	cert      *server.Certificate
	ln        net.Listener
	told      *prometheus.CounterVec
	first     string // the first admin token, at the first start
	checks    []server.Check
	started   time.Time
	jobs      jobs
}

// Serve runs a server until ctx ends or the process is told to stop. What a
// person should read at the start goes to out, what happens goes to logs.
func Serve(ctx context.Context, cfg Config, out, logs io.Writer) error {
	d, err := Open(ctx, cfg, logs)
	if err != nil {
		return err
	}
	defer d.Close()
	d.greet(out)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return d.Run(ctx)
}

// Open puts a server together and listens, but answers nobody yet.
func Open(ctx context.Context, cfg Config, logs io.Writer) (_ *Daemon, err error) {
	d := &Daemon{cfg: cfg, log: newLogger(&cfg, logs), started: time.Now()}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	// First, so that nothing is made when the address is taken.
	if d.ln, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, problem.New(problem.Unavailable, "listen", "the address %s cannot be listened on: %v", cfg.Listen, err).
			Suggest("take any free port: chartkeep serve --listen 127.0.0.1:0")
	}
	if d.folder, err = openFolder(cfg.Data, cfg.Database == ""); err != nil {
		return nil, err
	}
	if d.keys, err = d.folder.openKeysFor(&cfg); err != nil {
		return nil, err
	}
	if err := d.folder.publishAuditKey(d.keys.auditVerifier); err != nil {
		return nil, err
	}
	if err := d.openOut(); err != nil { // before the signer and the witnesses are asked
		return nil, err
	}
	if err := d.keys.askSigner(&cfg, d.out); err != nil {
		return nil, err
	}
	keyed := d.keys.storeConfig()
	keyed.SQLite, keyed.Postgres = d.folder.file(fileDatabase), cfg.Database
	if d.store, err = sqlstore.Open(ctx, keyed); err != nil {
		return nil, err
	}
	blobs, err := blob.OpenDir(d.folder.file(dirBlobs))
	if err != nil {
		return nil, err
	}
	limits := chart.DefaultLimits()
	if err := d.openCustody(ctx, blobs, limits); err != nil {
		return nil, err
	}
	d.late = &lateStore{Store: d.store, path: d.folder.file(fileLate)}
	scrub, err := d.scrubbing()
	if err != nil {
		return nil, err
	}
	refused, err := d.keepingRefused()
	if err != nil {
		return nil, err
	}
	pipelines, signIn, err := d.identity()
	if err != nil {
		return nil, err
	}
	d.service = release.New(release.Config{
		Pipelines: pipelines, SignIn: signIn, Witness: d.witnesses,
		Store: d.late, Blobs: blobs, Limits: limits, Secret: d.keys.secret, Service: d.keys.origin,
		IndexCache: cache{d.folder.file(dirCache)}, Certifier: keyless.Certifier{}, Scrub: scrub, Refused: refused, Log: d.log,
		Demand: func(ctx context.Context, project, name, version string) error {
			return d.watch.Pull(ctx, project, name, version)
		},
	})
	if err := d.openWatch(limits); err != nil {
		return nil, err
	}
	if err := d.firstAdmin(ctx); err != nil {
		return nil, err
	}
	if err := d.noteSettings(ctx); err != nil {
		return nil, err
	}
	if err := d.late.tellLate(ctx); err != nil {
		d.log.ErrorContext(ctx, "tell what happened while the database was read-only", "error", err)
	}
	if err := d.connect(limits); err != nil {
		return nil, err
	}
	return d, nil
}

// Addr is the address that the server listens on.
func (d *Daemon) Addr() net.Addr { return d.ln.Addr() }

// Close ends what Open began. What was acknowledged is durable before.
func (d *Daemon) Close() error {
	if d.ln != nil {
		d.ln.Close()
	}
	if d.out != nil {
		d.out.Close()
	}
	if d.store != nil {
		d.store.Close()
	}
	if d.folder != nil {
		d.folder.close()
	}
	return nil
}

func newLogger(cfg *Config, w io.Writer) *slog.Logger {
	level, err := cfg.level()
	if err != nil {
		level = slog.LevelInfo // Load has refused it before
	}
	opt := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

// firstAdmin makes the first account and writes its token down.
func (d *Daemon) firstAdmin(ctx context.Context) error {
	if d.store.ReadOnly() != nil {
		return nil // an account that is made now would not be in the log
	}
	secret, err := d.service.EnsureAdmin(ctx)
	if err != nil || secret == "" {
		return err
	}
	d.first = secret
	path := d.folder.file(fileToken)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeOnce(path, secret+"\n", 0o600)
}

// connect makes the doors and the way from a request to them.
func (d *Daemon) connect(limits chart.Limits) error {
	cfg := server.Config{Logger: d.log, Authenticator: d.service, AuthFailures: d.recordFailures, TokenUsed: d.service.TokenUsed}
	var err error
	if d.cfg.ExternalURL != "" {
		if cfg.External, err = server.ParseExternalURL(d.cfg.ExternalURL); err != nil {
			return err
		}
	}
	if cfg.Proxies, err = server.ParseTrustedProxies(d.cfg.TrustedProxies); err != nil {
		return err
	}
	if d.cfg.TLSCert != "" {
		if d.cert, err = server.LoadCertificate(d.cfg.TLSCert, d.cfg.TLSKey, d.log); err != nil {
			return err
		}
	}
	m := metrics.New()
	d.told = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chartkeep_events_total",
		Help: "Audit events by name, severity and result, as they were told.",
	}, []string{"event", "severity", "result"})
	// A counter that appears with its first event shows no increase.
	for _, def := range audit.Names() {
		for _, result := range []audit.Result{audit.Allowed, audit.Denied, audit.Failed} {
			if def.Alerts {
				d.told.WithLabelValues(string(def.Name), string(def.Severity), string(result))
			}
		}
	}
	logSize := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chartkeep_log_size", Help: "Leaves in the transparency log.",
	}, func() float64 {
		info, err := d.service.LogInfo(context.Background())
		if err != nil {
			return -1
		}
		return float64(info.Size)
	})
	m.Registerer().MustRegister(d.scrubGauges()...)
	m.Registerer().MustRegister(d.told, logSize, &gauges{store: d.store, log: d.log}, custodyGauges{d}, witnessGauges{d}, d.signerGauge())
	cfg.Recorder, cfg.Metrics = m, m.Handler()
	cfg.Checks = []server.Check{{Name: "store", Run: d.service.Ready}, {Name: "history", Run: d.historyReady}}
	cfg.ReadOnly = d.store.ReadOnly
	d.checks = cfg.Checks

	build := ReadBuild()
	ociDoor := oci.New(d.service)
	repo := chartrepo.New(d.service, chartrepo.Config{Version: build.Version, MaxArchive: limits.Archive, TempDir: d.folder.file(dirCache)})
	manage := api.New(d.service, d.watch, api.Config{Version: build.Version, Commit: build.Commit, Judging: d.judge})
	log := tiles.New(d.service, func(r *http.Request) error { return d.service.MayReadLog(r.Context(), server.CallerOf(r)) })
	pages, err := web.New(d.service, web.Config{Version: build.Version, Watching: d.watch, Judging: d.judge, SignIn: d.service, Health: d, Runbooks: notify.Runbooks})
	if err != nil {
		return err
	}
	d.handler = server.New(cfg, []server.Route{
		{Prefix: "v2", Door: audit.DoorOCI, Serve: ociDoor.Serve, WriteError: oci.WriteError},
		{Prefix: api.Prefix, Door: audit.DoorAPI, Serve: manage.Serve, WriteError: api.WriteError},
		{Prefix: "api", Door: audit.DoorChartMuseum, Serve: repo.Serve, WriteError: chartrepo.WriteError},
		{Prefix: "log", Door: audit.DoorAPI, Serve: log.Serve},
		{Prefix: "ui", Door: audit.DoorWeb, Serve: pages.Serve, WriteError: pages.WriteError, Cookie: true, MaxBody: 1 << 20},
		{Prefix: "", Door: audit.DoorClassic, Serve: repo.Serve, WriteError: chartrepo.WriteError},
	})
	return nil
}

// recordFailures puts the wrong credentials of a minute into the audit trail.
func (d *Daemon) recordFailures(ctx context.Context, failures []server.AuthFailure) {
	events := make([]audit.Event, 0, len(failures))
	for _, f := range failures {
		source := "many addresses"
		if f.Source.IsValid() {
			source = f.Source.String()
		}
		add := func(name audit.Name, rule string, count int64) {
			if count > 0 {
				events = append(events, audit.Event{
					Time: f.Last, Name: name, Actor: audit.ActorOf(access.Anonymous()), Door: f.Door,
					Outcome: audit.Outcome{Result: audit.Denied, Rule: rule}, Source: audit.Source{IP: source},
					Detail: map[string]string{audit.DetailCount: strconv.FormatInt(count, 10), audit.DetailSince: f.First.UTC().Format(time.RFC3339)},
				})
			}
		}
		add(audit.AuthFailures, server.RuleCredential, f.Count)
		add(audit.LoginLocked, server.RuleTooManyAttempts, f.Locked)
	}
	if err := d.late.Record(ctx, time.Now(), events...); err != nil {
		d.log.ErrorContext(ctx, "record failed credentials", "error", err)
	}
}

// Run answers requests until ctx ends, then lets running ones finish.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.keepLast(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	writing := d.writing(work, &beside)
	beside.Go(func() { d.handler.Run(work) })
	beside.Go(func() { d.every(work, time.Minute, "maintain", d.service.Maintain) })
	beside.Go(func() { d.every(work, time.Second, "tell events", d.tell) })
	beside.Go(func() { d.every(work, time.Second, "protect", d.service.Protect) })
	beside.Go(func() { d.anchor(work) })
	if err := d.rotate(ctx); err != nil {
		d.log.ErrorContext(ctx, "put the new log key into the log", "error", err)
	}
	beside.Go(func() { d.every(work, time.Hour, "rotate log key", d.rotate) })
	beside.Go(func() { d.reload(work) })
	d.keeping(work, &beside)
	beside.Go(func() { d.service.Scrubbing(writing) })
	beside.Go(func() { d.every(writing, time.Hour, "forget refused copies", d.service.SweepRefused) })
	d.watching(writing, &beside, d.watch)
	d.judging(writing, &beside)
	beside.Go(func() { d.service.AskWitnesses(writing) })
	d.log.InfoContext(ctx, "serving", "address", d.ln.Addr().String(), "data", d.folder.path, "log", d.keys.origin, "version", ReadBuild().Version, "tls", d.cert != nil)
	err := server.Serve(ctx, d.ln, d.handler, d.cert, d.log)
	d.log.InfoContext(ctx, "stopped")
	return err
}

// anchor writes the state of the audit log into the release log: soon after the
// start, so that whoever checks it from outside finds one, then every hour.
func (d *Daemon) anchor(ctx context.Context) {
	select {
	case <-time.After(time.Minute):
		if err := d.store.Anchor(ctx); err != nil {
			d.log.ErrorContext(ctx, "background work failed", "job", "anchor audit log", "error", err)
		}
	case <-ctx.Done():
	}
	d.every(ctx, time.Hour, "anchor audit log", d.store.Anchor)
}

// every runs a job again and again until ctx ends, and once more then. A
// failure is logged and the job goes on: it finds its work again.
func (d *Daemon) every(ctx context.Context, pause time.Duration, name string, job func(context.Context) error) {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		last := false
		select {
		case <-t.C:
		case <-ctx.Done():
			last = true
		}
		if d.store.ReadOnly() != nil {
			if last {
				return
			}
			continue // it would write
		}
		err := job(context.WithoutCancel(ctx))
		d.jobs.note(name, time.Now(), err)
		if err != nil {
			d.log.ErrorContext(ctx, "background work failed", "job", name, "error", err)
		}
		if last {
			return
		}
	}
}

// tell hands what happened to the log, the metrics and the routes.
func (d *Daemon) tell(ctx context.Context) error {
	for {
		n, err := d.store.Relay(ctx, 1000, func(records []release.AuditRecord) error {
			// First, since it alone can fail: then all of it is told again.
			if err := d.raise(ctx, records); err != nil {
				return err
			}
			for _, r := range records {
				ev := &r.Event
				def, _ := ev.Name.Definition()
				d.told.WithLabelValues(string(ev.Name), string(def.Severity), string(ev.Outcome.Result)).Inc()
				level := slog.LevelInfo
				if def.Severity == audit.Alert {
					level = slog.LevelWarn
				}
				d.log.Log(ctx, level, "event", "name", ev.Name, "project", ev.Resource.Project, "chart", ev.Resource.Chart,
					"version", ev.Resource.Version, "result", ev.Outcome.Result, "rule", ev.Outcome.Rule, "actor", ev.Actor.ID,
					"door", ev.Door, "request_id", ev.RequestID, "audit_index", r.Index)
			}
			return nil
		})
		if err != nil || n < 1000 {
			return err
		}
	}
}

// raise makes alerts of what is alarming.
func (d *Daemon) raise(ctx context.Context, records []release.AuditRecord) error {
	events := make([]watch.AuditEvent, len(records))
	for i, r := range records {
		events[i] = watch.AuditEvent{Index: r.Index, Event: r.Event, Actor: r.Actor}
	}
	return d.watch.Raise(ctx, events)
}

// reload takes a new certificate when the process is told to (SIGHUP).
func (d *Daemon) reload(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if d.cert == nil {
				continue
			}
			if err := d.cert.Reload(); err != nil {
				d.log.ErrorContext(ctx, "reload certificate", "error", err)
			}
		}
	}
}

// greet tells a person what was started, and at the first start what to do.
func (d *Daemon) greet(out io.Writer) {
	url := d.URL()
	if d.first == "" {
		fmt.Fprintf(out, "Chartkeep serves %s from %s\n", url, d.folder.path)
		return
	}
	host := strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "https://")
	fmt.Fprintf(out, `Chartkeep serves %s from %s

This is its first start. The administrator's token, shown here once and kept in
%s:

  %s

The public key of the log, for everybody who verifies, is in
%s.

To try it, in another terminal:

  export CHARTKEEP_SERVER=%s CHARTKEEP_TOKEN=$(cat %s)
  chartkeep project create demo --public
  chartkeep push CHART-1.0.0.tgz --project demo
  helm pull oci://%s/demo/CHART --version 1.0.0%s

`, url, d.folder.path, d.folder.file(fileToken), d.first, d.folder.file(fileVerifier), url, d.folder.file(fileToken), host, d.plain())
}

func (d *Daemon) plain() string {
	if d.cert == nil && d.cfg.ExternalURL == "" {
		return " --plain-http"
	}
	return ""
}

// URL is how clients on this machine reach the server.
func (d *Daemon) URL() string {
	if d.cfg.ExternalURL != "" {
		return d.cfg.ExternalURL
	}
	scheme := "http"
	if d.cert != nil {
		scheme = "https"
	}
	return scheme + "://" + d.ln.Addr().String()
}
