package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var discard = slog.New(slog.DiscardHandler)

// pipes is a listener whose connections are in memory, so that time can be a
// bubble's.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// serving runs Serve with the handler of a route and returns a way to dial, to
// end it, and what it returned.
func serving(h Handler) (l *pipes, end context.CancelFunc, result chan error) {
	l = newPipes()
	ctx, end := context.WithCancel(context.Background())
	result = make(chan error, 1)
	go func() { result <- Serve(ctx, l, New(Config{}, testRoutes(h)), nil, discard) }()
	return l, end, result
}

func readAll(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("store body: %w", err)
	}
	_, err = fmt.Fprintf(w, "%d bytes", len(b))
	return err
}

func answerOf(t *testing.T, c net.Conn) (int, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestSlowBodies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		send   func(c net.Conn) // the body, of Content-Length 1,000,000
		status int
		text   string
		within time.Duration // from the header to the answer
	}{
		{"pause", func(c net.Conn) {
			_, _ = c.Write(make([]byte, 500_000))
			time.Sleep(pause + time.Second)
		}, 408, "too slowly", pause + time.Second},
		{"pauses that are short enough", func(c net.Conn) {
			for range 4 {
				_, _ = c.Write(make([]byte, 250_000))
				time.Sleep(pause - 2*time.Second)
			}
		}, 200, "1000000 bytes", 4 * pause},
		{"drip", func(c net.Conn) {
			for range 200 {
				if _, err := c.Write(make([]byte, 100)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, 408, "too slowly", pause + 5*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, end, result := serving(readAll)
				c := l.dial()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(c, "PUT /v2/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
					tt.send(c)
				}()
				start := time.Now()
				status, body := answerOf(t, c)
				if status != tt.status || !strings.Contains(body, tt.text) || time.Since(start) > tt.within {
					t.Errorf("%d %s after %s", status, body, time.Since(start))
				}
				_ = c.Close()
				<-sent
				end()
				if err := <-result; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end, result := serving(readAll)
		c := l.dial()
		_, _ = io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost:")
		start := time.Now()
		_, _ = io.ReadAll(c)
		if d := time.Since(start); d < headerTimeout || d > headerTimeout+time.Second {
			t.Errorf("the connection ended after %s", d)
		}
		end()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// A handler that works long after the whole body has arrived must not be
// ended by the deadline of the body.
func TestDeadlineEndsWithTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end, result := serving(func(w http.ResponseWriter, r *http.Request) error {
			for range 2 { // a second look finds the end again, and must not set a deadline that stays
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					return err
				}
				time.Sleep(2 * time.Second)
			}
			select {
			case <-r.Context().Done():
				return r.Context().Err()
			case <-time.After(10 * pause):
			}
			_, err := io.WriteString(w, "done")
			return err
		})
		c := l.dial()
		go func() { _, _ = io.WriteString(c, "PUT /v2/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc") }()
		if status, body := answerOf(t, c); status != 200 || body != "done" {
			t.Errorf("%d %s", status, body)
		}
		_ = c.Close()
		end()
		<-result
	})
}

func TestSlowReader(t *testing.T) {
	for _, source := range []string{"write", "read from"} {
		t.Run(source, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failed := make(chan error, 1)
				l, end, result := serving(func(w http.ResponseWriter, r *http.Request) (err error) {
					if source == "write" {
						_, err = w.Write(make([]byte, 4*piece))
					} else {
						_, err = io.Copy(w, io.LimitReader(zeros{}, 4*piece))
					}
					failed <- err
					return err
				})
				c := l.dial()
				_, _ = io.WriteString(c, "GET /v2/x HTTP/1.1\r\nHost: h\r\n\r\n")
				_, _ = io.CopyN(io.Discard, c, 2*piece+1000)
				start := time.Now()
				if err := <-failed; err == nil {
					t.Error("the whole answer was taken by a client that does not read")
				}
				if d := time.Since(start); d > pause+2*time.Second {
					t.Errorf("the server waited %s for its client", d)
				}
				_ = c.Close()
				end()
				<-result
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBodyFaults(t *testing.T) {
	for _, tt := range []struct{ name, path, request, want string }{
		{"too large", "/api/v1/x", "Content-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000), "413 api too-large"},
		{"stops half-way", "/v2/x", "Content-Length: 2000\r\n\r\nabc", "400 oci invalid the request body ended before its end (received 3 bytes)"},
		{"chunk is cut", "/v2/x", "Transfer-Encoding: chunked\r\n\r\n5\r\nab", "400 oci invalid the request body ended before its end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(context.Background())
			result := make(chan error, 1)
			go func() { result <- Serve(ctx, ln, New(Config{}, testRoutes(readAll)), nil, discard) }()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: h\r\n%s", tt.path, tt.request)
			_ = c.(*net.TCPConn).CloseWrite()
			status, body := answerOf(t, c)
			if got := fmt.Sprintf("%d %s", status, body); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			_ = c.Close()
			end()
			if err := <-result; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestShutdownWaitsForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan struct{})
		l, end, result := serving(func(w http.ResponseWriter, r *http.Request) error {
			close(started)
			time.Sleep(ShutdownGrace - time.Second)
			if err := r.Context().Err(); err != nil {
				return fmt.Errorf("ended early: %w", err)
			}
			_, err := io.WriteString(w, "whole")
			return err
		})
		c := l.dial()
		go func() { _, _ = io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n") }()
		<-started
		end()
		if status, body := answerOf(t, c); status != 200 || body != "whole" {
			t.Errorf("%d %s", status, body)
		}
		_ = c.Close()
		if err := <-result; err != nil {
			t.Error(err)
		}
		if _, err := l.Accept(); err == nil {
			t.Error("the listener is open")
		}
	})
}

func TestShutdownEndsStuckRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := make(chan struct{})
		l, end, result := serving(func(w http.ResponseWriter, r *http.Request) error {
			close(started)
			<-r.Context().Done() // ends when the connection is cut
			return r.Context().Err()
		})
		c := l.dial()
		go func() { _, _ = io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n") }()
		<-started
		start := time.Now()
		end()
		if err := <-result; err == nil || time.Since(start) != ShutdownGrace {
			t.Errorf("returned %v after %s", err, time.Since(start))
		}
		_ = c.Close()
	})
}

func TestServeReportsAcceptErrors(t *testing.T) {
	l := newPipes()
	_ = l.Close()
	if err := Serve(context.Background(), l, http.NotFoundHandler(), nil, discard); err == nil {
		t.Error("no error")
	}
}

// writeCertificate puts a fresh certificate with a serial number in two files.
func writeCertificate(t *testing.T, dir string, serial int64) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "keep.example"}, DNSNames: []string{"keep.example"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		// Two writes may fall in one tick of the file system's clock.
		when := time.Unix(1_700_000_000+serial, 0)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

func serialOf(t *testing.T, c *Certificate) int64 {
	t.Helper()
	pair, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.Int64()
}

func TestCertificateReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		certFile, keyFile, _ := writeCertificate(t, dir, 1)
		c, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		writeCertificate(t, dir, 2)
		if got := serialOf(t, c); got != 1 {
			t.Errorf("looked again within a second: certificate %d", got)
		}
		time.Sleep(certificateLook)
		if got := serialOf(t, c); got != 2 {
			t.Errorf("certificate %d, want the new one", got)
		}
		// A half-written pair leaves the old one, and is loaded once it is whole.
		if err := os.WriteFile(keyFile, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certificateLook)
		if got := serialOf(t, c); got != 2 || !strings.Contains(log.String(), "not reloaded") {
			t.Errorf("certificate %d, log %s", got, &log)
		}
		if err := c.Reload(); err == nil {
			t.Error("Reload of a broken pair has no error")
		}
		writeCertificate(t, dir, 3)
		if err := c.Reload(); err != nil || serialOf(t, c) != 3 {
			t.Errorf("Reload: %v, certificate %d", err, serialOf(t, c))
		}
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certificateLook)
		if got := serialOf(t, c); got != 3 {
			t.Errorf("certificate %d after the key was removed", got)
		}
		if _, err := LoadCertificate(certFile, keyFile, discard); err == nil {
			t.Error("LoadCertificate without a key has no error")
		}
	})
}

func TestTLS(t *testing.T) {
	certFile, keyFile, pool := writeCertificate(t, t.TempDir(), 1)
	cert, err := LoadCertificate(certFile, keyFile, discard)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- Serve(ctx, ln, New(Config{}, testRoutes(readAll)), cert, discard) }()

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "keep.example"}, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport}
	res, err := client.Post("https://"+ln.Addr().String()+"/v2/x", "application/octet-stream", strings.NewReader(strings.Repeat("x", 100_000)))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.ProtoMajor != 2 || string(body) != "100000 bytes" {
		t.Errorf("%s %s", res.Proto, body)
	}
	transport.CloseIdleConnections()

	old := &tls.Config{RootCAs: pool, ServerName: "keep.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if c, err := tls.Dial("tcp", ln.Addr().String(), old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 was taken")
	}
	end()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestFileAnswer holds that a file goes out whole and counted through the
// pieces of ReadFrom, with and without a limit of its own.
func TestFileAnswer(t *testing.T) {
	name := filepath.Join(t.TempDir(), "blob")
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*piece/16+1)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	counted := make(chan int64, 1)
	for _, limit := range []int64{-1, 0, 1, piece, piece + 1, int64(len(content))} {
		h := func(w http.ResponseWriter, r *http.Request) error {
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			var src io.Reader = f
			if limit >= 0 {
				src = io.LimitReader(f, limit)
			}
			n, err := io.Copy(w, src)
			if n != w.(*answer).bytes {
				t.Errorf("limit %d: copied %d bytes, counted %d", limit, n, w.(*answer).bytes)
			}
			counted <- n
			return err
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- Serve(ctx, ln, New(Config{}, testRoutes(h)), nil, discard) }()
		res, err := http.Get("http://" + ln.Addr().String() + "/v2/blob")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		want := content
		if limit >= 0 {
			want = content[:limit]
		}
		if err != nil || !bytes.Equal(got, want) || <-counted != int64(len(want)) {
			t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
		}
		end()
		<-result
	}
}
