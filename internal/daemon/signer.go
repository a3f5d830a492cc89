package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chartkeep/chartkeep/internal/durable"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/remote"
	remotesigner "github.com/chartkeep/chartkeep/internal/remote/signer"
	"github.com/chartkeep/chartkeep/internal/signer"
	"github.com/chartkeep/chartkeep/internal/store/sqlstore"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// LogSigning says that the key of the log is not in the data folder.
type LogSigning struct {
	LogSigner       string // where the process answers that has it; "" is the data folder's own key
	LogSignerSecret string // file with what is shown to it
}

func signerSettings() []setting {
	return []setting{
		{name: "log-signer", help: "address of the process that has the private key of the log; none: the key is in the data folder", example: "unix:///run/chartkeep/signer.sock", field: func(c *Config) *string { return &c.LogSigner }},
		{name: "log-signer-secret", help: "file with the secret of that process", example: "signer.secret", field: func(c *Config) *string { return &c.LogSignerSecret }},
	}
}

func (c *Config) checkSigner() error {
	if c.LogSigner == "" {
		if c.LogSignerSecret != "" {
			return problem.New(problem.Invalid, "config-value", "log-signer-secret is given, and log-signer is not")
		}
		return nil
	}
	if c.LogSignerSecret == "" {
		return problem.New(problem.Invalid, "config-value", "log-signer needs log-signer-secret: the file secret of the signer's folder, or a copy of it")
	}
	return remotesigner.CheckURL(c.LogSigner)
}

// keyFile is the file that the data folder of a server has whatever happened to
// it.
func (c *Config) keyFile() string {
	if c.LogSigner != "" {
		return fileVerifier
	}
	return fileLogKey
}

// openKeysFor reads the keys of a folder, or makes them at the first start. With
// a signer the private key of the log is not among them, and nobody is asked
// for signatures before askSigner.
func (d *folder) openKeysFor(c *Config) (*keys, error) {
	if c.LogSigner == "" {
		return d.openKeys(c.LogOrigin)
	}
	if _, err := os.Stat(d.file(fileLogKey)); err == nil {
		return nil, problem.New(problem.Unavailable, "log-key", "the private key of the log is in the data folder %s, and by log-signer another process has it", d.path).
			With("why", "who breaks into this server could sign what he likes with it").
			Suggest("take %s away, to where you keep it offline; the signer has its own", d.file(fileLogKey))
	}
	k := &keys{remote: sqlstore.NotAsked}
	var err error
	if k.rotation, err = d.readRotation(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(d.file(fileVerifier))
	if err != nil {
		return nil, problem.New(problem.Unavailable, "log-key", "the public key of the log, %s, cannot be read", d.file(fileVerifier)).
			Suggest("copy log.vkey from the folder of the signer").Because(err)
	}
	k.verifier = strings.TrimSpace(string(text))
	v, err := tlog.NewVerifier(k.verifier)
	if err != nil {
		return nil, err
	}
	k.origin = v.Name()
	if c.LogOrigin != "" && c.LogOrigin != k.origin {
		return nil, problem.New(problem.Unavailable, "log-origin", "the log is named %s by its key, and cannot be named %s", k.origin, c.LogOrigin).
			Suggest("take log-origin out of the configuration")
	}
	if k.made, err = d.makeOwnKeys(c); err != nil {
		return nil, err
	}
	return k, d.derive(k, "")
}

// makeOwnKeys makes what is derived from the log key elsewhere, at the first
// start of a server that never had it.
func (d *folder) makeOwnKeys(c *Config) (bool, error) {
	var missing []string
	for _, name := range []string{fileAuditKey, fileSecret} {
		if _, err := os.Stat(d.file(name)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		} else if err != nil {
			return false, err
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	_, err := os.Stat(d.file(fileDatabase))
	_, published := os.Stat(d.file(fileAuditVerifier))
	if err == nil || published == nil {
		return false, problem.New(problem.Unavailable, "log-key-lost", "the data folder %s lacks %s", d.path, strings.Join(missing, " and ")).
			Suggest("put it back from where you keep it; for a log whose key moved into a signer: chartkeep signer init --import %s", d.path)
	}
	for _, name := range missing {
		random := make([]byte, 32)
		rand.Read(random) // never fails
		if err := writeOnce(d.file(name), hex.EncodeToString(random)+"\n", 0o600); err != nil {
			return false, err
		}
	}
	return true, nil
}

// askSigner connects the keys with the signer of the log, where there is one.
func (k *keys) askSigner(c *Config, out *remote.Client) error {
	if k.remote == nil {
		return nil
	}
	secret, err := signer.ReadSecret(c.LogSignerSecret)
	if err != nil {
		return err
	}
	client, err := remotesigner.New(out, c.LogSigner, secret)
	if err != nil {
		return err
	}
	k.remote, k.signer = client, client
	return nil
}

// SignerSource takes the key of the log of a stopped server for a signer: the
// private key, and the newest checkpoint that it signed. What was derived from the
// key gets files of its own in the data folder, so that the server goes on
// without it. The key itself stays where it is, for the operator to take away.
func SignerSource(ctx context.Context, cfg Config) (signer.Source, error) {
	f, err := existingFolder(&cfg)
	if err != nil {
		return signer.Source{}, err
	}
	defer f.close()
	k, err := f.openKeysFor(&cfg)
	if err != nil {
		return signer.Source{}, err
	}
	if k.rotation != nil {
		return signer.Source{}, problem.New(problem.Conflict, "rotation", "the log is on its way to another key").
			With("old key ends", "%s", k.rotation.Until.UTC().Format(time.RFC3339)).
			Suggest("start the server once after that time; then its key can move into a signer")
	}
	private, err := os.ReadFile(f.file(fileLogKey))
	if err != nil {
		return signer.Source{}, problem.New(problem.Unavailable, "log-key", "the key of the log cannot be read").Because(err)
	}
	st := k.storeConfig()
	st.SQLite, st.Postgres = f.file(fileDatabase), cfg.Database
	db, err := sqlstore.Open(ctx, st)
	if err != nil {
		return signer.Source{}, err
	}
	info, err := db.LogInfo(ctx)
	if err = errors.Join(err, db.Close()); err != nil {
		return signer.Source{}, err
	}
	for _, one := range []struct {
		name string
		text []byte
	}{{fileAuditKey, k.auditSeed}, {fileSecret, k.secret}} {
		if err := durable.Replace(f.file(one.name), []byte(hex.EncodeToString(one.text)+"\n"), 0o600); err != nil {
			return signer.Source{}, err
		}
	}
	return signer.Source{Private: string(private), Checkpoint: info.Checkpoint}, nil
}

// askSigner connects keys with their signer as the server does.
func (d *doctor) askSigner(cfg *Config, k *keys) bool {
	networks, err := cfg.networks()
	if err == nil {
		err = k.askSigner(cfg, remote.New(remote.Config{AllowNetworks: networks}))
	}
	return err == nil || d.say("log signer", err, "")
}

// logSigner says how the signer of the log does, where there is one.
func (d *doctor) logSigner(ctx context.Context, st *sqlstore.Store, k *keys) {
	if k.signer == nil {
		return
	}
	waiting, err := st.Unsigned(ctx)
	if p := st.ReadOnly(); err == nil && p != nil {
		err = p
	}
	var text []byte
	if err == nil {
		text, err = k.signer.Newest(ctx)
	}
	size := int64(0)
	if err == nil {
		var cp tlog.Checkpoint
		cp, err = tlog.ParseCheckpoint(text)
		size = cp.Size
	}
	d.say("log signer", err, "has the key of the log and has signed %d leaves; %d wait for it", size, waiting)
}

// signerGauge is how many leaves wait for the signer of the log.
func (d *Daemon) signerGauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chartkeep_log_unsigned", Help: "Leaves of the log that are stored and wait for the signature of the log's signer.",
	}, func() float64 {
		n, err := d.store.Unsigned(context.Background())
		if err != nil && n == 0 {
			return -1
		}
		return float64(n)
	})
}
