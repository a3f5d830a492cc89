package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// The limits of a connection; the package comment says what they are for.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	// ShutdownGrace is how long Serve lets running requests go on after its
	// context has ended.
	ShutdownGrace = 25 * time.Second
)

// Serve answers connections of ln with h until ctx ends, then stops taking new
// ones, waits up to ShutdownGrace for running requests, and cuts the rest. It
// returns nil after a shutdown that cut nobody. With a certificate it speaks
// TLS 1.2 or newer, and HTTP/2. It closes ln.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, cert *Certificate, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// What net/http logs are faults of clients: broken handshakes, bad
		// requests. Faults of handlers are caught and logged by Wrap.
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	ended := make(chan error, 1)
	go func() {
		if cert == nil {
			ended <- srv.Serve(ln)
			return
		}
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
		ended <- srv.ServeTLS(ln, "", "")
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve connections: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), ShutdownGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close()
		return fmt.Errorf("shut down: requests were still running after %s: %w", ShutdownGrace, err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve connections: %w", err)
	}
	return nil
}

// Certificate is a TLS certificate in two files that may be replaced while the
// server runs. At most once a second, a handshake looks whether the files
// changed; files that cannot be loaded leave the old certificate in place.
// It is used by many goroutines.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	looked  time.Time
	seen    [2]fileMark
}

// fileMark tells two states of a file apart.
type fileMark struct {
	modified time.Time
	size     int64
}

const certificateLook = time.Second

// LoadCertificate reads a certificate chain and its key, both PEM.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files now, whether or not they changed; for SIGHUP. On an
// error the old certificate stays.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load(c.marks())
}

// load reads the files; seen is how they looked before that, so that a change
// in between is found at the next look.
func (c *Certificate) load(seen [2]fileMark) error {
	c.looked, c.seen = time.Now(), seen
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return problem.New(problem.Invalid, "tls-certificate", "the TLS certificate cannot be used: %v", err).
			With("certificate", "%s", c.certFile).
			With("key", "%s", c.keyFile).
			Suggest("give a PEM certificate chain and the private key that belongs to it")
	}
	c.current = &pair
	return nil
}

func (c *Certificate) marks() (m [2]fileMark) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if fi, err := os.Stat(name); err == nil {
			m[i] = fileMark{fi.ModTime(), fi.Size()}
		}
	}
	return m
}

func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= certificateLook {
		c.looked = time.Now()
		if m := c.marks(); m != c.seen {
			if err := c.load(m); err != nil {
				c.log.Error("tls certificate not reloaded", slog.String("error", err.Error()))
			} else {
				c.log.Info("tls certificate reloaded")
			}
		}
	}
	return c.current, nil
}
