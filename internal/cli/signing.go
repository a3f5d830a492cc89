package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/signature"
	"github.com/chartkeep/chartkeep/internal/signature/keyless"
)

// The endings of what lies beside a signed archive.
const (
	provSuffix   = ".prov"
	bundleSuffix = ".sigstore.json"
)

// signedFile is a signature that was made.
type signedFile struct {
	File string `json:"file"` // the archive
	Kind string `json:"kind"` // pgp or key
	Key  string `json:"key"`
	Out  string `json:"out"`
}

type signedList struct {
	Items []signedFile `json:"items"`
}

func (signedList) schema() string { return "sign/v1" }
func (r signedList) keys() []string {
	return keysOf(r.Items, func(s signedFile) string { return s.Out })
}

func (r signedList) view() view {
	b := block{head: []string{"FILE", "KIND", "KEY"}}
	for _, s := range r.Items {
		b.rows = append(b.rows, []string{s.Out, s.Kind, s.Key})
	}
	return view{b}
}

type signChartOptions struct {
	keys       []string
	passphrase string
	manifest   string
}

func (o *signChartOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.keys, "key", nil, "sign with the key in `FILE`; may be given several times")
	f.StringVar(&o.passphrase, "passphrase-file", "", "`FILE` whose first line unlocks an OpenPGP key")
	f.StringVar(&o.manifest, "manifest", "", "let the bundle be about the OCI manifest `DIGEST` too")
}

func (a *app) signCommand() *cobra.Command {
	var opt signChartOptions
	return a.leaf(command{
		use: "sign FILE... --key KEY", short: "Sign chart archives",
		long: `
Sign chart archives. What is made depends on the key: one of OpenPGP, as gpg
--armor --export-secret-keys writes it, makes FILE.prov as helm package --sign
does; an Ed25519, ECDSA P-256 or RSA key (PEM, PKCS #8) makes the sigstore bundle
FILE.sigstore.json. With a key of each kind both are made. chartkeep push sends
what lies beside an archive.

A locked OpenPGP key is unlocked by the first line of --passphrase-file, by
CHARTKEEP_PASSPHRASE, or by what is typed at the terminal. No server is asked.`,
		example: `
chartkeep sign web-1.4.2.tgz --key signer.asc --passphrase-file pass.txt
# an Ed25519 key: openssl genpkey -algorithm ed25519 -out key.pem
chartkeep sign web-1.4.2.tgz --key key.pem`,
		args: arguments{1, -1, "the FILE of at least one chart archive"}, flags: opt.register, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			if len(opt.keys) == 0 {
				return nil, usage("--key is missing").try("chartkeep sign %s --key FILE", args[0])
			}
			var keys []*signature.SecretKey
			for _, file := range opt.keys {
				k, err := a.secretKey(ctx, opt, file)
				if err != nil {
					return nil, err
				}
				keys = append(keys, k)
			}
			list := signedList{Items: []signedFile{}}
			for _, file := range args {
				made, err := a.signFile(opt, keys, file)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, made...)
			}
			return list, nil
		},
	})
}

// secretKey reads a key to sign with.
func (a *app) secretKey(ctx context.Context, opt signChartOptions, file string) (*signature.SecretKey, error) {
	text, err := readFile(file, signature.MaxSecretKey)
	if err != nil {
		return nil, asUsage(err)
	}
	return signature.ReadSecretKey(text, func(name string) ([]byte, error) { return a.passphrase(ctx, opt.passphrase, name) })
}

// passphrase is what unlocks a key: from a file, the environment or a terminal.
func (a *app) passphrase(_ context.Context, file, name string) ([]byte, error) {
	if file != "" {
		b, err := readFile(file, maxLine)
		if err != nil {
			return nil, asUsage(err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		return []byte(strings.TrimRight(line, "\r")), nil
	}
	if word := a.env("CHARTKEEP_PASSPHRASE"); word != "" {
		return []byte(word), nil
	}
	fd, ok := terminal(a.stdin)
	if !ok {
		return nil, usage("the key of %s is locked, and there is no terminal to ask on", name).try("give --passphrase-file FILE, or set CHARTKEEP_PASSPHRASE")
	}
	fmt.Fprintf(a.stderr, "Passphrase of %s: ", printable(name))
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(a.stderr)
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	return b, nil
}

// signFile makes the signatures of one archive and puts them beside it.
func (a *app) signFile(opt signChartOptions, keys []*signature.SecretKey, file string) ([]signedFile, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fileProblem(file, err)
	}
	defer f.Close()
	archive, err := chart.Open(f, chart.DefaultLimits())
	if err != nil {
		return nil, err
	}
	if want := chart.FileName(archive.Metadata.Name, archive.Metadata.Version); filepath.Base(file) != want {
		return nil, problem.New(problem.Invalid, "file-name-mismatch", "the file is named %.200s, but its Chart.yaml says %s %s; a signature binds the name", filepath.Base(file), archive.Metadata.Name, archive.Metadata.Version).
			With("expected", "%s", want).Suggest("mv %s %s", file, filepath.Join(filepath.Dir(file), want))
	}
	what := signature.Signed{Metadata: archive.Metadata, Archive: archive.Digest, Manifest: opt.manifest}
	var out []signedFile
	for _, k := range keys {
		made := signedFile{File: file, Kind: string(k.Kind()), Key: k.ID()}
		var text []byte
		if k.Kind() == signature.PGP {
			made.Out = file + provSuffix
			text, err = k.Provenance(what, a.now(), rand.Reader)
		} else {
			made.Out = file + bundleSuffix
			text, err = k.Bundle(what, rand.Reader)
		}
		if err != nil {
			return nil, err
		}
		for _, before := range out {
			if before.Out == made.Out {
				return nil, usage("two keys of one kind would write %s", made.Out).try("sign with one key of each kind")
			}
		}
		if err := writeFile(made.Out, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

// attached is what came of attaching signatures to a release.
type attached struct {
	Release    string             `json:"release"`
	State      string             `json:"state"`
	Signatures []client.Signature `json:"signatures"`
	Waits      []string           `json:"waits_for,omitempty"`
	Would      []string           `json:"would_refuse,omitempty"`
}

func (attached) schema() string   { return "attach/v1" }
func (r attached) keys() []string { return []string{r.Release} }

func (r attached) view() view {
	facts := append([]fact{{"release", r.Release}, {"state", r.State}}, signedFacts(client.Signed{Waits: r.Waits, Would: r.Would})...)
	return view{{facts: facts}, signatureBlock(r.Signatures)}
}

// signedFacts say what a release waits for, and what only a report kept.
func signedFacts(s client.Signed) []fact {
	var out []fact
	if len(s.Waits) > 0 {
		out = append(out, fact{"waits for", strings.Join(s.Waits, " and ")})
	}
	for _, w := range s.Would {
		out = append(out, fact{"would be refused", w})
	}
	return out
}

// signatureBlock is the table of signatures; empty without any.
func signatureBlock(list []client.Signature) block {
	var b block
	for _, s := range list {
		if b.head == nil {
			b.head = []string{"SIGNATURE", "VERDICT", "SIGNER", "ABOUT", "CAME", "DETAIL"}
		}
		detail := s.Detail
		if s.Verdict == signature.Verified {
			detail = s.Key
		}
		b.rows = append(b.rows, []string{cmp.Or(string(s.Kind), "unknown"), string(s.Verdict), cmp.Or(s.Signer, "none"), cmp.Or(s.About, "unknown"), stampSeconds(s.Time), detail})
	}
	return b
}

func (a *app) attachCommand() *cobra.Command {
	return a.leaf(command{
		use: "attach PROJECT/CHART@VERSION FILE...", short: "Attach signatures to a release",
		long: `
Attach signatures to a release that is there: a provenance file, once, or
sigstore bundles. What the project's policy asks for is judged by the server; a
release that waits for signatures becomes visible with the last one. A signature
that the policy does not take is refused, with exit code 3.`,
		example: `
chartkeep attach demo/web@1.4.2 web-1.4.2.tgz.sigstore.json
chartkeep attach demo/web@1.4.2 web-1.4.2.tgz.prov`,
		args: arguments{2, -1, "a reference PROJECT/CHART@VERSION and at least one FILE"}, files: true,
		run: func(ctx context.Context, args []string) (result, error) {
			ref, err := exactRef(args[0])
			if err != nil {
				return nil, err
			}
			c, err := a.client()
			if err != nil {
				return nil, err
			}
			var out attached
			for _, file := range args[1:] {
				b, err := readFile(file, client.MaxProvenance)
				if err != nil {
					return nil, err
				}
				rec, err := attachFile(ctx, c, ref, b)
				if err != nil {
					return nil, err
				}
				out.Release, out.State, out.Waits = refOf(rec.Release), rec.State, rec.Waits
				out.Signatures, out.Would = append(out.Signatures, rec.Signatures...), append(out.Would, rec.Would...)
			}
			return out, nil
		},
	})
}

// attachFile attaches a provenance or a bundle, whichever it is.
func attachFile(ctx context.Context, c *client.Client, ref client.Ref, b []byte) (client.Receipt, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN PGP")) {
		return c.AttachBundle(ctx, ref.Project, ref.Chart, ref.Version, b)
	}
	p, err := chart.ParseProvenance(b)
	if err != nil {
		return client.Receipt{}, err
	}
	if p.Name != ref.Chart || p.Version != ref.Version {
		return client.Receipt{}, problem.New(problem.Invalid, "provenance-name", "the provenance file is of %s %s, and not of %s", p.Name, p.Version, ref)
	}
	return c.AttachProvenance(ctx, ref.Project, b)
}

// attachBeside attaches the bundle that lies beside an archive to the release
// that was made of it.
func attachBeside(ctx context.Context, c *client.Client, file string, rec *client.Receipt) error {
	bundle, err := beside(file, bundleSuffix, client.MaxBundle)
	if err != nil || bundle == nil {
		return err
	}
	now, err := c.AttachBundle(ctx, rec.Project, rec.Chart, rec.Version, bundle)
	if e, ok := problem.As(err); ok {
		e.With("released", "%s, without the bundle", refOf(rec.Release))
	}
	if err != nil {
		return err
	}
	rec.State, rec.Waits = now.State, now.Waits
	rec.Signatures, rec.Would = append(rec.Signatures, now.Signatures...), append(rec.Would, now.Would...)
	return nil
}

// signerOptions are whose signatures verify takes.
type signerOptions struct {
	keyring string
	signers []string
}

func (o *signerOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.keyring, "keyring", "", "also check the PGP signature by the public keys in `FILE`")
	f.StringArrayVar(&o.signers, "signer", nil, "also check signatures by `FILE`: a public key (PEM), or the signers of a policy; may be given several times")
}

// read reads the signers; nil when none are given.
func (o *signerOptions) read(a *app) (*client.Signers, error) {
	if o.keyring == "" && len(o.signers) == 0 {
		return nil, nil
	}
	out := &client.Signers{Certifier: keyless.Certifier{}}
	if o.keyring != "" {
		b, err := readFile(o.keyring, 1<<20)
		if err != nil {
			return nil, asUsage(err)
		}
		if out.Signers, err = signature.Keyring(b); err != nil {
			return nil, err
		}
	}
	for _, file := range o.signers {
		b, err := readFile(file, release.MaxPolicy)
		if err != nil {
			return nil, asUsage(err)
		}
		if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN PUBLIC KEY")) {
			out.Signers = append(out.Signers, client.Signer{Name: strings.ToLower(filepath.Base(file)), Key: string(b)})
			continue
		}
		document, err := a.readPolicy(file)
		if err != nil {
			return nil, err
		}
		p, err := release.ParsePolicy(document)
		if err != nil {
			return nil, err
		}
		if p.Signatures == nil || len(p.Signatures.Signers) == 0 {
			return nil, usage("%s names no signers", file)
		}
		if out.TrustedRoot != "" && p.Signatures.TrustedRoot != "" {
			return nil, usage("two of the policies have a trusted root")
		}
		out.Signers, out.TrustedRoot = append(out.Signers, p.Signatures.Signers...), cmp.Or(out.TrustedRoot, p.Signatures.TrustedRoot)
	}
	return out, nil
}

// inlineFiles puts the text of files into a policy that names them, so that a
// policy can be kept beside its keys: pgp_file and key_file of a signer, and
// trusted_root_file.
func inlineFiles(document []byte, dir string) (json.RawMessage, error) {
	var doc map[string]any
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, err
	}
	signatures, ok := doc["signatures"].(map[string]any)
	if !ok {
		return document, nil
	}
	inline := func(m map[string]any, from, to string) error {
		name, ok := m[from].(string)
		if !ok {
			return nil
		}
		if m[to] != nil {
			return problem.New(problem.Invalid, "policy-file", "%s and %s stand beside each other", from, to)
		}
		b, err := readFile(filepath.Join(dir, filepath.FromSlash(name)), signature.MaxTrustedRoot)
		if err != nil {
			return err
		}
		delete(m, from)
		m[to] = string(b)
		return nil
	}
	if err := inline(signatures, "trusted_root_file", "trusted_root"); err != nil {
		return nil, err
	}
	signers, _ := signatures["signers"].([]any)
	for _, s := range signers {
		m, ok := s.(map[string]any)
		if !ok {
			continue
		}
		for _, field := range []string{"pgp", "key"} {
			if err := inline(m, field+"_file", field); err != nil {
				return nil, err
			}
		}
	}
	return json.Marshal(doc)
}
