package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/daemon"
	"github.com/chartkeep/chartkeep/internal/signer"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

func (a *app) signerCommands() *cobra.Command {
	return group("signer", "Keep the key of the log in a process of its own", a.signerInitCommand(), a.signerServeCommand(), a.signerRotateCommand())
}

const signerDir = "chartkeep-signer"

// madeSigner is what signer init made.
type madeSigner struct {
	Folder string `json:"folder"`
	Origin string `json:"origin"`
	Key    string `json:"verifier_key"`
	Secret string `json:"secret_file"`
	Size   int64  `json:"signed"`
	data   string // that the key was taken from
}

func (madeSigner) schema() string   { return "signer/v1" }
func (r madeSigner) keys() []string { return []string{r.Key} }

func (r madeSigner) view() view {
	b := block{facts: []fact{{"folder", r.Folder}, {"log", r.Origin}, {"key", r.Key}, {"secret", r.Secret},
		{"signed", thousands(r.Size) + " leaves"}, {"run it with", "chartkeep signer serve --dir " + r.Folder}}}
	if r.data == "" {
		return view{b}
	}
	return view{b, {text: fmt.Sprintf("What the server derives from its key has files of its own in %s now.\nTake log.key away from there: the server does not start with it and a signer.", r.data)}}
}

// signerKey are the options that say where a key comes from.
type signerKey struct {
	public string
}

func (o *signerKey) register(f *pflag.FlagSet) {
	f.StringVar(&o.public, "public-key", "", "`FILE` of the Ed25519 public key of the key command: PEM, DER, or Base 64 of that")
}

// source makes a source of the arguments behind --, which are the key command.
func (o *signerKey) source(argv []string) (signer.Source, error) {
	switch {
	case o.public == "" && len(argv) == 0:
		return signer.Source{}, nil
	case o.public == "":
		return signer.Source{}, usage("the public key of the key command is missing").try("--public-key FILE")
	case len(argv) == 0:
		return signer.Source{}, usage("the key command is missing").try("--public-key FILE -- PROGRAM ARGUMENTS")
	}
	b, err := readFile(o.public, 64<<10)
	if err != nil {
		return signer.Source{}, asUsage(err)
	}
	pub, err := signer.ParsePublicKey(b)
	return signer.Source{Command: argv, Public: pub}, asUsage(err)
}

func (a *app) signerInitCommand() *cobra.Command {
	var opt signerKey
	var dir, origin, data, key, checkpoint string
	return a.leaf(command{
		use: "init --log-origin NAME [-- PROGRAM ARGUMENTS]", short: "Make the folder of a signer",
		long: `
Make the folder of a signer for one log, with a new key. Copy log.vkey from it
into the data folder of the server, and its secret to where the server may read
it; signer serve prints the server's configuration.

With --import the key of a server that is stopped moves into the signer, which
begins with the newest checkpoint of that server and never from nothing. With
--key and --checkpoint it is a key from elsewhere, with the newest checkpoint that
it signed: that it signed nothing later is your word.

Behind -- stands a key command, for a key in a token or a key management
service. It gets the bytes to sign on its standard input and writes the Ed25519
signature, 64 bytes or Base 64, to its standard output. --public-key is its
public half. It is tried once, and every signature is verified before it is used.`,
		example: `
chartkeep signer init --log-origin charts.example.com/log
chartkeep signer init --import /var/lib/chartkeep
chartkeep signer init --log-origin charts.example.com/log \
  --public-key log.pem -- /usr/local/bin/sign-log`,
		args: arguments{0, -1, "a key command behind --"},
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.StringVar(&dir, "dir", signerDir, "`FOLDER` of the key and of what was signed")
			f.StringVar(&origin, "log-origin", "", "`NAME` of a new log, such as charts.example.com/log")
			f.StringVar(&data, "import", "", "data `FOLDER` of the stopped server whose key moves")
			f.StringVar(&key, "key", "", "`FILE` of a private key that has signed before")
			f.StringVar(&checkpoint, "checkpoint", "", "`FILE` of the newest checkpoint that the key signed")
		},
		run: func(ctx context.Context, argv []string) (result, error) {
			from, err := opt.source(argv)
			if err != nil {
				return nil, err
			}
			if checkpoint != "" {
				if from.Checkpoint, err = readFile(checkpoint, tlog.MaxCheckpoint); err != nil {
					return nil, asUsage(err)
				}
			}
			switch {
			case data != "" && (len(argv) > 0 || key != "" || checkpoint != ""):
				return nil, usage("--import takes the key and its checkpoint from the server alone")
			case data != "":
				c, err := daemon.Load("", a.environ, map[string][]string{"data": {data}})
				if err != nil {
					return nil, err
				}
				if from, err = daemon.SignerSource(ctx, c); err != nil {
					return nil, err
				}
			case key != "":
				b, err := readFile(key, 4<<10)
				if err != nil {
					return nil, asUsage(err)
				}
				from.Private = string(b)
			}
			made, err := signer.Init(dir, origin, from)
			return resultOf(madeSigner{made.Folder, made.Origin, made.Key, made.Secret, made.Size, data}, err)
		},
	})
}

func (a *app) signerServeCommand() *cobra.Command {
	var cfg signer.Config
	var at signer.Address
	return a.leaf(command{
		use: "serve [--dir FOLDER]", short: "Run a signer",
		long: `
Run a signer. It signs a head of its log when that continues the one before it,
and after it is on the disk; it refuses everything else, whoever asks. It prints
what goes into the server's configuration.

It listens on a socket in its folder, so that its folder must let the server's
user in, or on the socket or port that --listen names. Over a network it needs a
certificate. Run it as another user than the server or on another machine: it is
worth what separates them.`,
		example: `
chartkeep signer serve
chartkeep signer serve --listen unix:/run/chartkeep/signer.sock
chartkeep signer serve --listen :8444 --tls-cert tls.crt --tls-key tls.key`,
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&cfg.Folder, "dir", signerDir, "`FOLDER` of the key and of what was signed")
			f.StringVar(&at.Listen, "listen", "", "`ADDRESS` to listen on: unix:PATH, or host:port (default: signer.sock in the folder)")
			f.StringVar(&at.TLSCert, "tls-cert", "", "PEM `FILE` of the certificate chain")
			f.StringVar(&at.TLSKey, "tls-key", "", "PEM `FILE` of the certificate's key")
		},
		run: func(ctx context.Context, _ []string) (result, error) {
			cfg.Log = slog.New(slog.NewTextHandler(a.stderr, nil))
			return nil, signer.Serve(ctx, cfg, at, a.stdout)
		},
	})
}

// rotatedSigner says that the log has another key, in its signer.
type rotatedSigner struct {
	daemon.Rotation
}

func (rotatedSigner) schema() string   { return "rotation/v1" }
func (r rotatedSigner) keys() []string { return []string{r.New} }

func (r rotatedSigner) view() view {
	text, err := json.Marshal(r.Rotation)
	if err != nil {
		text = []byte(err.Error())
	}
	return view{{facts: []fact{{"new key", r.New}, {"old key", r.Old}, {"old key ends", stampSeconds(r.Until)}}},
		{text: "Stop the server, write this line into the file log.rotation of its data folder,\nstart the signer, then the server:\n\n" + string(text) + "\n\nThe server puts the rotation into the log. Publish the new key where the old one\nis published."}}
}

func (a *app) signerRotateCommand() *cobra.Command {
	var opt signerKey
	var dir string
	overlap := 30 * 24 * time.Hour
	return a.leaf(command{
		use: "rotate-key [--overlap DURATION] [-- PROGRAM ARGUMENTS]", short: "Give the log of a signer that is stopped a new key",
		long: `
Give the log of a signer that is stopped a new key: a new one in its folder, or
behind -- the key command of one. Until the overlap ends the signer signs with
both. Write the line that is printed into the file log.rotation of the server's
data folder: from then on it is as with chartkeep log rotate-key.`,
		example: `
chartkeep signer rotate-key
chartkeep signer rotate-key --overlap 2160h`,
		args: arguments{0, -1, "a key command behind --"},
		flags: func(f *pflag.FlagSet) {
			opt.register(f)
			f.StringVar(&dir, "dir", signerDir, "`FOLDER` of the key and of what was signed")
			f.DurationVar(&overlap, "overlap", overlap, "for how long both keys sign; 0 for a key that is in other hands")
		},
		run: func(_ context.Context, argv []string) (result, error) {
			from, err := opt.source(argv)
			if err != nil {
				return nil, err
			}
			made, err := signer.Rotate(dir, from, overlap, a.now())
			return resultOf(rotatedSigner{daemon.Rotation{Old: made.Old, New: made.Key, Until: made.Until}}, err)
		},
	})
}
