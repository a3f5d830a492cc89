package signer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Address is where a signer listens.
type Address struct {
	// Listen is host:port, or unix: and a path; "" is the socket signer.sock in
	// the folder.
	Listen  string
	TLSCert string // PEM files; both or none, and none for a socket
	TLSKey  string
}

// Serve opens a signer and answers until ctx ends or the process is told to
// stop. What a person should read at the start goes to out.
func Serve(ctx context.Context, cfg Config, at Address, out io.Writer) error {
	s, err := Open(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	ln, cert, err := s.listen(at)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s.greet(out, ln, cert != nil)
	return server.Serve(ctx, ln, s, cert, s.log)
}

// greet prints what goes into the server's configuration.
func (s *Signer) greet(out io.Writer, ln net.Listener, secure bool) {
	url := "http://" + ln.Addr().String()
	if secure {
		url = "https://" + ln.Addr().String()
	}
	if ln.Addr().Network() == "unix" {
		url = "unix://" + ln.Addr().String()
	}
	signed := "nothing was signed yet"
	if size := s.Size(); size >= 0 {
		signed = fmt.Sprintf("%d leaves were signed", size)
	}
	fmt.Fprintf(out, "The signer of the log %s listens; %s. The server's configuration:\n\nlog-signer: %s\nlog-signer-secret: %s\n\nand in its data folder, as log.vkey:\n\n%s\n",
		s.Origin(), signed, url, s.folder.file(fileSecret), s.VerifierKey())
}

// listen opens the socket or the port.
func (s *Signer) listen(at Address) (net.Listener, *server.Certificate, error) {
	if at.Listen == "" {
		at.Listen = "unix:" + s.folder.file("signer.sock")
	}
	if (at.TLSCert == "") != (at.TLSKey == "") {
		return nil, nil, problem.New(problem.Invalid, "config-tls", "TLS needs both a certificate and its key, and one is missing")
	}
	if path, ok := strings.CutPrefix(at.Listen, "unix:"); ok {
		if at.TLSCert != "" {
			return nil, nil, problem.New(problem.Invalid, "config-tls", "a socket of this machine takes no certificate")
		}
		ln, err := listenUnix("/" + strings.TrimLeft(path, "/"))
		return ln, nil, err
	}
	var cert *server.Certificate
	if at.TLSCert != "" {
		var err error
		if cert, err = server.LoadCertificate(at.TLSCert, at.TLSKey, s.log); err != nil {
			return nil, nil, err
		}
	} else if !loopback(at.Listen) {
		return nil, nil, problem.New(problem.Invalid, "config-tls", "the secret of the signer would cross the network in clear at %s", at.Listen).
			Suggest("give it a certificate: --tls-cert FILE --tls-key FILE; or a socket of this machine: --listen unix:/run/chartkeep/signer.sock")
	}
	ln, err := net.Listen("tcp", at.Listen)
	if err != nil {
		return nil, nil, problem.New(problem.Unavailable, "listen", "the address %s cannot be listened on: %v", at.Listen, err)
	}
	return ln, cert, nil
}

func loopback(listen string) bool {
	at, err := netip.ParseAddrPort(listen)
	return err == nil && at.Addr().IsLoopback()
}

// listenUnix opens a socket that a signer before may have left. Its group may
// use it too: the server is another user.
func listenUnix(path string) (net.Listener, error) {
	fail := func(err error) error {
		return problem.New(problem.Unavailable, "listen", "the socket %s cannot be opened: %v", path, err).
			Suggest("give a path in a folder that this user may write to: --listen unix:/run/chartkeep/signer.sock")
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fail(errors.New("there is something else"))
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fail(errors.New("another program answers there"))
		}
		if err := os.Remove(path); err != nil {
			return nil, fail(err)
		}
	}
	ln, err := net.Listen("unix", filepath.Clean(path))
	if err != nil {
		return nil, fail(err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		ln.Close()
		return nil, fail(err)
	}
	return ln, nil
}
