package cli

import (
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chartkeep/chartkeep/internal/signature/signaturetest"
)

// keys NAME [PASSPHRASE] makes keys to sign with: NAME.asc and NAME.pub.asc of
// OpenPGP, locked where a passphrase is given, and NAME.pem with NAME.pub.pem.
func keys(ts *testscript.TestScript, _ bool, args []string) {
	t := &scriptTB{ts: ts}
	pgp, key := signaturetest.NewPGP(t, time.Now().Add(-time.Hour)), signaturetest.NewKey(t)
	passphrase := ""
	if len(args) == 2 {
		passphrase = args[1]
	}
	for name, text := range map[string]string{
		".asc": string(pgp.Secret(t, passphrase)), ".pub.asc": pgp.Public(t), ".pem": string(key.PEM(t)), ".pub.pem": key.Public(t),
	} {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+name), []byte(text), 0o600))
	}
}
