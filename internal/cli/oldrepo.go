package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/client"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of what is read from an old repository. An index of 12,000 releases
// with their descriptions has 8 MB.
const (
	maxOldIndex     = 64 << 20
	maxOldRedirects = 5
	oldTimeout      = 5 * time.Minute // of one file
)

// oldRelease is what an old repository says of a release.
type oldRelease struct {
	chart   string // "" where no index names it
	version string
	source  string // URL, or path below the folder
	origin  client.Origin
}

// oldRepository is a classic repository, or a folder, that history is taken
// from. It is only read, and no credential goes to it.
type oldRepository struct {
	folder *os.Root // nil: base is an address
	base   *url.URL // of the index
	http   *http.Client
}

// openOld opens an old repository by its URL or its folder.
func openOld(from string) (*oldRepository, error) {
	if !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://") {
		root, err := os.OpenRoot(from)
		if err != nil {
			return nil, asUsage(fileProblem(from, err))
		}
		return &oldRepository{folder: root}, nil
	}
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, usage("--from is not the URL of a repository").try("--from https://charts.example.com")
	}
	if u.User != nil {
		return nil, usage("--from has a user name or a password in it, and such a thing never belongs on a command line").
			try("fetch the files to a folder and give --from FOLDER")
	}
	if path.Base(u.Path) != "index.yaml" {
		u = u.JoinPath("index.yaml")
	}
	return &oldRepository{base: u, http: &http.Client{
		Timeout: oldTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxOldRedirects || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return errors.New("redirected too often, or to something that is not HTTP")
			}
			return nil
		},
	}}, nil
}

func (o *oldRepository) close() {
	if o.folder != nil {
		_ = o.folder.Close() // it was only read
	}
}

// errNotThere is that a repository does not have a file.
var errNotThere = errors.New("the old repository does not have it")

// read reads a file by its source.
func (o *oldRepository) read(ctx context.Context, source string, limit int64) ([]byte, error) {
	var body io.ReadCloser
	if o.folder != nil {
		f, err := o.folder.Open(filepath.FromSlash(source))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errNotThere
		}
		if err != nil {
			return nil, err
		}
		body = f
	} else {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("User-Agent", userAgent())
		res, err := o.http.Do(req)
		if err != nil {
			if u, ok := errors.AsType[*url.Error](err); ok {
				err = u.Err
			}
			return nil, err
		}
		body = res.Body
		switch res.StatusCode {
		case http.StatusOK:
		case http.StatusNotFound, http.StatusGone, http.StatusForbidden: // some stores say forbidden for what is not there
			res.Body.Close()
			return nil, fmt.Errorf("%w: it answered %s", errNotThere, res.Status)
		default:
			res.Body.Close()
			return nil, fmt.Errorf("the old repository answered %s", res.Status)
		}
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("it has more than %s bytes", thousands(limit))
	}
	return b, nil
}

// releases lists what the repository published, by chart, the oldest first.
func (o *oldRepository) releases(ctx context.Context) ([]oldRelease, error) {
	name := "index.yaml"
	if o.base != nil {
		name = o.base.String()
	}
	text, err := o.read(ctx, name, maxOldIndex)
	if o.folder != nil && errors.Is(err, errNotThere) {
		return o.files()
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, problem.New(problem.Unavailable, "old-index", "the index of the old repository cannot be read").
			With("index", "%s", name).With("reason", "%v", err).
			Suggest("check --from: it is the URL that helm repo add takes, or a folder")
	}
	return o.parseIndex(text)
}

// oldEntry is what is read of an entry of index.yaml. The rest comes from the
// archive itself.
type oldEntry struct {
	Name    string   `json:"name" yaml:"name"`
	Version string   `json:"version" yaml:"version"`
	URLs    []string `json:"urls" yaml:"urls"`
	Created string   `json:"created" yaml:"created"`
	Digest  string   `json:"digest" yaml:"digest"`
}

// parseIndex reads an index.yaml, which may be JSON.
func (o *oldRepository) parseIndex(text []byte) ([]oldRelease, error) {
	var index struct {
		Entries map[string][]oldEntry `json:"entries" yaml:"entries"`
	}
	var err error
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		err = json.Unmarshal(text, &index)
	} else {
		err = yaml.Unmarshal(text, &index)
	}
	if err != nil || index.Entries == nil {
		return nil, problem.New(problem.Invalid, "old-index", "the index of the old repository is not an index.yaml").
			With("reason", "%v", cmp.Or(err, errors.New("it has no entries"))).
			Suggest("give a folder of archives with --from FOLDER instead")
	}
	var out []oldRelease
	for name, entries := range index.Entries {
		for i := len(entries) - 1; i >= 0; i-- { // an index has the newest first
			e := entries[i]
			r := oldRelease{chart: cmp.Or(e.Name, name), version: e.Version, origin: client.Origin{Digest: oldDigest(e.Digest)}}
			if t, err := time.Parse(time.RFC3339, e.Created); err == nil {
				r.origin.Created = t.UTC()
			}
			if len(e.URLs) > 0 {
				r.source = o.locate(e.URLs[0])
			}
			r.origin.URL = publicURL(r.source)
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b oldRelease) int {
		return cmp.Or(cmp.Compare(a.chart, b.chart), a.origin.Created.Compare(b.origin.Created))
	})
	return out, nil
}

// locate finds the file that an index names; "" when it names none that can be
// fetched. In a folder, an absolute URL means the file of its name.
func (o *oldRepository) locate(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	if o.folder != nil {
		local := path.Clean(u.Path)
		if u.Host != "" {
			local = path.Base(u.Path)
		}
		if !filepath.IsLocal(filepath.FromSlash(local)) {
			return ""
		}
		return local
	}
	u = o.base.ResolveReference(u)
	if u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.String()
}

// maxOriginURL is how much of an address the log keeps, in bytes.
const maxOriginURL = 1024

// publicURL is an address without what may be secret in it.
func publicURL(source string) string {
	if u, err := url.Parse(source); err == nil && u.Host != "" {
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		source = u.String()
	}
	if len(source) > maxOriginURL {
		source = strings.ToValidUTF8(source[:maxOriginURL], "")
	}
	return source
}

// oldDigest is a digest of an old index in our spelling, "" for what is none.
func oldDigest(s string) string {
	s = "sha256:" + strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "sha256:")
	if digest.Check(s) != nil {
		return ""
	}
	return s
}

// files lists the archives of a folder without an index.
func (o *oldRepository) files() ([]oldRelease, error) {
	var out []oldRelease
	err := fs.WalkDir(o.folder.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".tgz") && d.Type().IsRegular() {
			out = append(out, oldRelease{source: name, origin: client.Origin{URL: publicURL(name)}})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	if len(out) == 0 {
		return nil, usage("the folder %s has neither an index.yaml nor a .tgz file", o.folder.Name())
	}
	return out, nil
}

// beforeVersion finds the chart's name in the name of a file, well enough to
// keep the releases of a chart together.
var beforeVersion = regexp.MustCompile(`^(.+?)-v?[0-9]`)

// group is the chart of a release, or the best guess.
func (r *oldRelease) group() string {
	if r.chart != "" {
		return r.chart
	}
	if m := beforeVersion.FindStringSubmatch(path.Base(r.source)); m != nil {
		return m[1]
	}
	return r.source
}

// fetch reads the archive of a release and its provenance, nil when there is
// none. A page that a server sends in place of a missing file is none.
func (o *oldRepository) fetch(ctx context.Context, r *oldRelease) (archive, prov []byte, err error) {
	if r.source == "" {
		return nil, nil, errors.New("the index names no file that can be fetched")
	}
	if archive, err = o.read(ctx, r.source, chart.DefaultLimits().Archive); err != nil {
		return nil, nil, err
	}
	prov, err = o.read(ctx, withSuffix(r.source, ".prov"), client.MaxProvenance)
	if errors.Is(err, errNotThere) || err == nil && !bytes.Contains(prov, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return archive, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("fetch provenance: %w", err)
	}
	return archive, prov, nil
}

// withSuffix adds to the path of an address, before its query.
func withSuffix(source, suffix string) string {
	u, err := url.Parse(source)
	if err != nil || u.Host == "" {
		return source + suffix
	}
	u.Path += suffix
	if u.RawPath != "" {
		u.RawPath += suffix
	}
	return u.String()
}
