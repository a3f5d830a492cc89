package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"time"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Release is one published chart version.
type Release struct {
	Project       string    `json:"project"`
	Chart         string    `json:"chart"`
	Version       string    `json:"version"`
	Tag           string    `json:"tag"`
	File          string    `json:"file"`
	Digest        string    `json:"digest"` // of the archive, sha256:…
	Size          int64     `json:"size"`   // of the archive, in bytes
	ContentDigest string    `json:"content_digest"`
	Manifest      string    `json:"manifest"`
	Config        string    `json:"config"`
	Provenance    string    `json:"provenance,omitempty"` // digest of the provenance file
	Publisher     string    `json:"publisher"`            // account id
	PublisherName string    `json:"publisher_name"`
	Door          string    `json:"door"`
	Time          time.Time `json:"time"`
	LogIndex      int64     `json:"log_index"`
	State         string    `json:"state"` // active, staged, yanked, quarantined or tombstoned
	Legacy        bool      `json:"legacy"`
	Yank          *Yank     `json:"yank,omitempty"`
	// Quarantine and Tombstone say why nobody gets the release.
	Quarantine *Quarantine `json:"quarantine,omitempty"`
	Tombstone  *Tombstone  `json:"tombstone,omitempty"`
}

// Yank is why, when and by whom a release was yanked.
type Yank struct {
	Reason   string    `json:"reason"`
	Text     string    `json:"text,omitempty"`
	By       string    `json:"by"`
	ByName   string    `json:"by_name"`
	Time     time.Time `json:"time"`
	LogIndex int64     `json:"log_index"`
}

// Receipt is the answer to a push.
type Receipt struct {
	Release
	Unchanged bool   `json:"unchanged"`       // the same bytes were released before; nothing moved
	Proof     string `json:"proof,omitempty"` // a tlog-proof file, see ParseProof
	Signed
}

// ParseProof reads the proof; it does not check it.
func (r Receipt) ParseProof() (tlog.Proof, error) { return tlog.ParseProof([]byte(r.Proof)) }

// Detail is all that is known of one release.
type Detail struct {
	Release
	Metadata chart.Metadata `json:"metadata"`
	Proof    string         `json:"proof,omitempty"`
	Signed
}

// ChartSummary is one chart of a project in a listing.
type ChartSummary struct {
	Name        string    `json:"name"`
	Latest      Release   `json:"latest"`
	Releases    int       `json:"releases"`
	Updated     time.Time `json:"updated"`
	Description string    `json:"description,omitempty"`
}

// YankReason is one of the reasons that a yank can have.
type YankReason struct {
	Code    string `json:"code"`
	Meaning string `json:"meaning"`
}

// Upload is an archive to publish. It is read once, from where it stands.
type Upload struct {
	FileName   string // "" when the archive has none; must agree with its Chart.yaml
	Archive    io.Reader
	Size       int64  // of Archive in bytes, -1 when it is not known
	Provenance []byte // nil when there is none
}

// Origin is what an older repository said of a release.
type Origin struct {
	URL     string    `json:"url"`
	Created time.Time `json:"created,omitzero"`
	Digest  string    `json:"digest,omitempty"` // sha256:…
}

// Push publishes an archive.
func (c *Client) Push(ctx context.Context, project string, up Upload) (Receipt, error) {
	return c.upload(ctx, project, "/-/releases", up, nil)
}

// ImportRelease takes a release of an older repository over into a project
// that is importing.
func (c *Client) ImportRelease(ctx context.Context, project string, up Upload, from Origin) (Receipt, error) {
	return c.upload(ctx, project, "/-/imports", up, &from)
}

// upload sends the form that the API takes: origin, prov, chart, in this
// order, so that the server knows all before the archive.
func (c *Client) upload(ctx context.Context, project, below string, up Upload, from *Origin) (out Receipt, err error) {
	path, err := projectPath(project)
	if err != nil {
		return out, err
	}
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	part := func(name, file string, content []byte) {
		// Writing to a buffer does not fail.
		w, _ := form.CreateFormFile(name, file)
		_, _ = w.Write(content)
	}
	if from != nil {
		origin, err := json.Marshal(from)
		if err != nil {
			return out, fmt.Errorf("encode origin: %w", err)
		}
		part("origin", "origin.json", origin)
	}
	if up.Provenance != nil {
		part("prov", "chart.tgz.prov", up.Provenance)
	}
	part("chart", up.FileName, nil)
	before := head.Len()
	_ = form.Close()
	tail := bytes.Clone(head.Bytes()[before:])
	head.Truncate(before)

	size := int64(-1)
	if up.Size >= 0 {
		size = int64(before) + up.Size + int64(len(tail))
	}
	err = c.json(ctx, call{
		method: http.MethodPost, path: api + path + below,
		body: io.MultiReader(&head, up.Archive, bytes.NewReader(tail)), size: size, contentType: form.FormDataContentType(),
	}, "release-receipt/v1", &out)
	return out, err
}

// AttachProvenance adds a provenance file to the release that it names, once.
func (c *Client) AttachProvenance(ctx context.Context, project string, prov []byte) (out Receipt, err error) {
	path, err := projectPath(project)
	if err != nil {
		return out, err
	}
	err = c.json(ctx, call{
		method: http.MethodPost, path: api + path + "/-/provenance",
		body: bytes.NewReader(prov), size: int64(len(prov)), contentType: "text/plain; charset=utf-8",
	}, "release-receipt/v1", &out)
	return out, err
}

// Charts lists the charts of a project, by name.
func (c *Client) Charts(ctx context.Context, project string, p Page) (l List[ChartSummary], err error) {
	path, err := projectPath(project)
	if err != nil {
		return l, err
	}
	err = c.get(ctx, path+"/-/charts", p.values(), "chart-list/v1", &l)
	return l, err
}

// Releases lists the releases of a chart, the newest version first.
func (c *Client) Releases(ctx context.Context, project, chartName string, p Page) (l List[Release], err error) {
	path, err := projectPath(project)
	if err != nil {
		return l, err
	}
	name, err := segments(chartName)
	if err != nil {
		return l, err
	}
	err = c.get(ctx, path+"/-/charts"+name+"/releases", p.values(), "release-list/v1", &l)
	return l, err
}

// Release returns a release with its metadata and proof. Version is exact, or
// "latest".
func (c *Client) Release(ctx context.Context, project, chartName, version string) (out Detail, err error) {
	path, err := releasePath(project, chartName, version)
	if err != nil {
		return out, err
	}
	err = c.get(ctx, path, nil, "release-detail/v1", &out)
	return out, err
}

// Proof returns the proof of a release as a tlog-proof file in its exact
// bytes, with the newest checkpoint.
func (c *Client) Proof(ctx context.Context, project, chartName, version string) ([]byte, error) {
	path, err := releasePath(project, chartName, version)
	if err != nil {
		return nil, err
	}
	return c.file(ctx, api+path+"/proof", tlog.MaxProof)
}

// Yank withdraws a release from resolution. Reason is a code of YankReasons.
func (c *Client) Yank(ctx context.Context, project, chartName, version, reason, text string) (Release, error) {
	return c.setState(ctx, project, chartName, version, "/yank", map[string]string{"reason": reason, "text": text})
}

// Unyank takes a yank back.
func (c *Client) Unyank(ctx context.Context, project, chartName, version, text string) (Release, error) {
	return c.setState(ctx, project, chartName, version, "/unyank", map[string]string{"text": text})
}

func (c *Client) setState(ctx context.Context, project, chartName, version, verb string, in any) (out Release, err error) {
	path, err := releasePath(project, chartName, version)
	if err != nil {
		return out, err
	}
	err = c.send(ctx, http.MethodPost, path+verb, in, "release/v1", &out)
	return out, err
}

// YankReasons lists the reasons that a yank can have.
func (c *Client) YankReasons(ctx context.Context, p Page) (l List[YankReason], err error) {
	err = c.get(ctx, "/yank-reasons", p.values(), "yank-reason-list/v1", &l)
	return l, err
}

// MaxProvenance bounds a provenance file that is fetched, in bytes.
const MaxProvenance = 1 << 20

// Archive opens the archive of a release by its file name. It is not checked.
// Reading fails with problem.TooLarge beyond limit bytes.
func (c *Client) Archive(ctx context.Context, project, file string, limit int64) (io.ReadCloser, error) {
	path, err := filePath(project, file)
	if err != nil {
		return nil, err
	}
	res, err := c.do(ctx, call{method: http.MethodGet, path: path, accept: "application/gzip, application/octet-stream"})
	if err != nil {
		return nil, err
	}
	return &limited{body: res.Body, left: limit, limit: limit}, nil
}

// Provenance fetches the provenance file of a release by the archive's file
// name.
func (c *Client) Provenance(ctx context.Context, project, file string) ([]byte, error) {
	path, err := filePath(project, file)
	if err != nil {
		return nil, err
	}
	return c.file(ctx, path+".prov", MaxProvenance)
}

// filePath is where the classic repository has a file.
func filePath(project, file string) (string, error) {
	path, err := projectPath(project)
	if err != nil {
		return "", err
	}
	name, err := segments(file)
	if err != nil {
		return "", err
	}
	return path[len("/projects"):] + "/charts" + name, nil
}

// file fetches a small file.
func (c *Client) file(ctx context.Context, path string, limit int64) ([]byte, error) {
	res, err := c.do(ctx, call{method: http.MethodGet, path: path, query: url.Values{}, accept: "text/plain, */*"})
	if err != nil {
		return nil, err
	}
	defer drain(res.Body)
	return c.read(res, limit)
}

// limited is a body that fails, rather than ends, beyond its limit.
type limited struct {
	body        io.ReadCloser
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.body.Read(p)
	if int64(n) > l.left {
		n, err = int(l.left), problem.New(problem.TooLarge, "archive-too-large", "the archive is too large").
			With("limit", "%d bytes", l.limit)
	}
	l.left -= int64(n)
	return n, err
}

func (l *limited) Close() error { return l.body.Close() }
