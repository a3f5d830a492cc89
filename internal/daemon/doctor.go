package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
	"github.com/chartkeep/chartkeep/internal/store/blob"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
)

// Finding is what Doctor says of one part.
type Finding struct {
	Name   string `json:"name"`
	Result string `json:"result"` // ok, fail, or unchecked
	Detail string `json:"detail"`
	Try    string `json:"try,omitempty"`
}

// doctor collects findings; each check runs whatever the others said.
type doctor struct{ findings []Finding }

func (d *doctor) say(name string, err error, detail string, args ...any) bool {
	f := Finding{Name: name, Result: "ok", Detail: fmt.Sprintf(detail, args...)}
	if err != nil {
		f.Result, f.Detail = "fail", err.Error()
		if p, ok := problem.As(err); ok {
			f.Try = p.Try
		}
	}
	d.findings = append(d.findings, f)
	return err == nil
}

func (d *doctor) skip(name, why string) {
	d.findings = append(d.findings, Finding{Name: name, Result: "unchecked", Detail: why})
}

// Doctor checks whether a server of this configuration can run here, or how a
// running one does. It makes nothing that is not there: a folder that was
// never served is said to be new.
func Doctor(ctx context.Context, cfg Config) []Finding {
	d := &doctor{}
	d.say("configuration", cfg.check(), "understood; data in %s, listening on %s", cfg.Data, cfg.Listen)
	d.tls(&cfg)
	d.listener(&cfg)
	if _, err := os.Stat(cfg.Data); err != nil && os.IsNotExist(err) {
		d.skip("data folder", cfg.Data+" is not there yet; the first start makes it")
		return d.findings
	}
	f, err := openFolder(cfg.Data, cfg.Database == "")
	if p, ok := problem.As(err); ok && p.Rule == "data-locked" && d.running(ctx, &cfg) {
		d.say("data folder", nil, "%s is in use by a server, it seems the running one; stop it to have the rest checked", cfg.Data)
		return d.findings
	}
	if !d.say("data folder", err, "%s can be written to, and no other server uses it", cfg.Data) {
		return d.findings
	}
	defer f.close()
	d.blobs(ctx, f)
	if _, err := os.Stat(f.file(fileLogKey)); err != nil && os.IsNotExist(err) {
		if _, err := os.Stat(f.file(fileDatabase)); err != nil && os.IsNotExist(err) && cfg.Database == "" {
			d.skip("log key", "there is none yet; the first start makes it")
			return d.findings
		}
	}
	k, err := f.openKeysFor(&cfg)
	if !d.say("log key", err, "names the log %s", originOf(k)) {
		return d.findings
	}
	d.database(ctx, &cfg, f, k)
	return d.findings
}

func originOf(k *keys) string {
	if k == nil {
		return ""
	}
	return k.origin
}

func (d *doctor) tls(cfg *Config) {
	if cfg.TLSCert == "" {
		d.skip("TLS", "not configured; OCI clients then need --plain-http, or a proxy with TLS in front")
		return
	}
	_, err := server.LoadCertificate(cfg.TLSCert, cfg.TLSKey, slog.New(slog.DiscardHandler))
	d.say("TLS", err, "certificate and key in %s and %s belong together", cfg.TLSCert, cfg.TLSKey)
}

func (d *doctor) listener(cfg *Config) {
	ln, err := net.Listen("tcp", cfg.Listen)
	if err == nil {
		err = ln.Close()
		d.say("address", err, "%s is free", cfg.Listen)
		return
	}
	d.skip("address", fmt.Sprintf("%s is taken, by a running server perhaps: %v", cfg.Listen, err))
}

// running asks the server that may hold the folder how it does, and says
// whether one is ready.
func (d *doctor) running(ctx context.Context, cfg *Config) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	scheme := "http"
	if cfg.TLSCert != "" {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+cfg.Listen+"/readyz", nil)
	if err != nil {
		return d.say("running server", err, "")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.skip("running server", "none answers at "+cfg.Listen)
		return false
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s to /readyz", cfg.Listen, res.Status)
	}
	return d.say("running server", err, "%s is ready", cfg.Listen)
}

func (d *doctor) blobs(ctx context.Context, f *folder) {
	b, err := blob.OpenDir(f.file(dirBlobs))
	if err == nil {
		u, berr := b.Begin(ctx)
		if err = berr; err == nil {
			_, err = u.Write([]byte("chartkeep doctor"))
			if serr := u.Suspend(); err == nil {
				err = serr
			}
			if r, rerr := b.Resume(ctx, u.ID()); rerr == nil {
				r.Cancel()
			}
		}
	}
	d.say("blob folder", err, "%s can be written to", f.file(dirBlobs))
}

func (d *doctor) database(ctx context.Context, cfg *Config, f *folder, k *keys) {
	if !d.askSigner(cfg, k) {
		return
	}
	st, err := sqlstore.Open(ctx, sqlstore.Config{
		SQLite: f.file(fileDatabase), Postgres: cfg.Database, Origin: k.origin, Signer: k.release, AuditSigner: k.audit, VerifierKey: k.verifier, Remote: k.remote,
	})
	kind := "SQLite"
	if cfg.Database != "" {
		kind = "PostgreSQL"
	}
	if !d.say("database", err, "%s opens, and its tables are those of this version", kind) {
		return
	}
	defer st.Close()
	d.logSigner(ctx, st, k)
	info, err := st.LogInfo(ctx)
	if !d.say("transparency log", err, "%d leaves with the root that was signed", info.Size) {
		return
	}
	if ahead := time.Until(info.Time); ahead > time.Minute {
		d.say("clock", fmt.Errorf("the newest leaf is %s ahead of this machine's clock", ahead.Round(time.Second)), "")
		return
	}
	d.say("clock", nil, "not behind the log")
}
