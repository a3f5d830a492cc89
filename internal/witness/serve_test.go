package witness_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chartkeep/chartkeep/internal/tlog"
	"github.com/chartkeep/chartkeep/internal/witness"
)

// serving runs a witness until the test ends, and returns its address from the
// line that a person reads.
func serving(t *testing.T, cfg witness.Config, at witness.Address) (url string, stop func() error) {
	t.Helper()
	at.Listen = "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := witness.Serve(ctx, cfg, at, w)
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatal(<-ended)
	}
	go io.Copy(io.Discard, r)
	stop = func() error { cancel(); err := <-ended; ended <- nil; return err }
	t.Cleanup(func() { stop() })
	return strings.TrimSpace(line[strings.Index(line, "http"):]), stop
}

func TestServe(t *testing.T) {
	l := newTree(t, origin, 1).project().releases(20)
	cfg, _ := auditing(t, l)
	url, stop := serving(t, cfg, witness.Address{})
	status, lines := send(url+"/add-checkpoint", l.request(0))
	if status != 200 || !strings.Contains(string(lines), "— witness.example.com/w1 ") {
		t.Errorf("status %d: %s", status, lines)
	}
	status, lines = send(url+"/audit/add-checkpoint", l.request(0))
	if status != 200 || !strings.Contains(string(lines), "— witness.example.com/w1/audit ") {
		t.Errorf("status %d: %s", status, lines)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	url, _ = serving(t, cfg, witness.Address{})
	if status, size := send(url+"/add-checkpoint", tlog.WitnessRequest{Checkpoint: l.checkpoint()}); status != 409 || string(size) != "20\n" {
		t.Errorf("after a restart: status %d: %s", status, size)
	}
}

func TestServeTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir, pool := t.TempDir(), x509.NewCertPool()
	at := witness.Address{TLSCert: filepath.Join(dir, "tls.crt"), TLSKey: filepath.Join(dir, "tls.key")}
	for path, block := range map[string]*pem.Block{at.TLSCert: {Type: "CERTIFICATE", Bytes: der}, at.TLSKey: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	l := newTree(t, origin, 1)
	cfg := witness.Config{Folder: initialise(t, false, l.known("")...), Logs: l.known("")}
	url, _ := serving(t, cfg, at)
	if !strings.HasPrefix(url, "https://") {
		t.Fatal(url)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	res, err := client.Get(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(body), "witness.example.com/w1+") {
		t.Errorf("status %d: %s", res.StatusCode, body)
	}
	if err := witness.Serve(t.Context(), cfg, witness.Address{Listen: "127.0.0.1:0", TLSCert: at.TLSCert}, io.Discard); rule(err) != "config-tls" {
		t.Errorf("a certificate without key: %v", err)
	}
}
