package witness

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Address is where a witness listens.
type Address struct {
	Listen  string // host:port
	TLSCert string // PEM files; both or none
	TLSKey  string
}

// Serve opens a witness and answers until ctx ends or the process is told to
// stop. SIGHUP reads the certificate again. What a person should read at the
// start goes to out.
func Serve(ctx context.Context, cfg Config, at Address, out io.Writer) error {
	if (at.TLSCert == "") != (at.TLSKey == "") {
		return problem.New(problem.Invalid, "config-tls", "TLS needs both a certificate and its key, and one is missing")
	}
	w, err := Open(cfg)
	if err != nil {
		return err
	}
	err = w.listen(ctx, at, out)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}

func (w *Witness) listen(ctx context.Context, at Address, out io.Writer) error {
	var cert *server.Certificate
	scheme := "http"
	if at.TLSCert != "" {
		var err error
		if cert, err = server.LoadCertificate(at.TLSCert, at.TLSKey, w.log); err != nil {
			return err
		}
		scheme = "https"
	}
	ln, err := net.Listen("tcp", at.Listen)
	if err != nil {
		return problem.New(problem.Unavailable, "listen", "the address %s cannot be listened on: %v", at.Listen, err).
			Suggest("take another one: --listen 127.0.0.1:8090")
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if cert != nil {
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-hup:
					if err := cert.Reload(); err != nil {
						w.log.Error("reload certificate", "error", err)
					}
				}
			}
		}()
	}
	// The lines that a policy takes, but for the address by which others come.
	fmt.Fprintf(out, "The witness listens on %s://%s\n\n", scheme, ln.Addr())
	for _, c := range w.keys {
		prefix := ""
		if c.kind == keyAudit {
			prefix = "/audit"
		}
		fmt.Fprintf(out, "witness %s %s %s://%s%s\n", c.key.Name(), c.key.VerifierKey(), scheme, ln.Addr(), prefix)
	}
	return server.Serve(ctx, ln, w, cert, w.log)
}
