package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/tlog"
)

// Reference names one release, and the door through which it is fetched.
type Reference struct {
	Written string // as it was given
	// Ref is exact. Of the URL of an archive it has the project alone: the log
	// entry says the rest, and has to fit File. Of a file it has what was asked.
	Ref
	Server string // base URL of the server that has it; "" for a file
	Door   string // as in a Pin
	File   string // the name in the URL of an archive
	// Local is a release at hand, of which nothing is fetched; otherwise nil.
	Local *Subject

	origin string // of the log that it is in, "" where that is not known
}

// ParseReference reads what names a release to be remembered:
//
//	PROJECT/CHART@VERSION                   at server
//	oci://HOST/PROJECT/CHART:VERSION        through the OCI door
//	https://HOST/PROJECT/charts/x-1.0.0.tgz through the classic door
//
// server is the base URL of the server that the caller is configured for, "" for
// none. A reference to its host uses its scheme and its context path; any other
// host has none, and is asked by HTTPS, or by HTTP when it is this machine.
func ParseReference(s, server string) (Reference, error) {
	switch {
	case strings.HasPrefix(s, ociScheme):
		return parseOCI(s, server)
	case strings.Contains(s, "://"):
		return parseURL(s, server)
	}
	ref, err := ParseRef(s)
	switch {
	case err != nil:
		return Reference{}, err
	case ref.Version == "" || ref.Version == "latest":
		return Reference{}, badRef(s, "what is to be remembered has an exact version")
	case server == "":
		return Reference{}, problem.New(problem.Invalid, "server-url", "no server is known that %s could be at", s).
			Suggest("set CHARTKEEP_SERVER to its URL")
	}
	return Reference{Written: s, Ref: ref, Server: server, Door: server}, nil
}

func parseOCI(s, server string) (Reference, error) {
	host, name, _ := strings.Cut(s[len(ociScheme):], "/")
	cut := strings.LastIndexByte(name, ':')
	if host == "" || cut < 0 || !chart.IsTag(name[cut+1:]) || !chart.IsRepository(name[:cut]) {
		return Reference{}, badRef(s, "it is not oci://HOST/PROJECT/CHART:VERSION")
	}
	if _, err := serverOfDoor(ociScheme + host); err != nil {
		return Reference{}, badRef(s, "its host is none")
	}
	ref, err := ParseRef(name[:cut] + "@" + chart.VersionForTag(name[cut+1:]))
	if err != nil {
		return Reference{}, err
	}
	return Reference{Written: s, Ref: ref, Server: serverAt(ociScheme+host, server), Door: ociScheme + host}, nil
}

func parseURL(s, server string) (Reference, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Reference{}, badRef(s, "it is not the URL of an archive")
	}
	base, path := u.Scheme+"://"+u.Host, u.Path
	if rest, ok := strings.CutPrefix(s, server+"/"); ok && server != "" {
		if path, err = url.PathUnescape("/" + rest); err != nil {
			return Reference{}, badRef(s, "it is not the URL of an archive")
		}
		base = server
	}
	dir, file, _ := cutLast(path, "/")
	project, ok := strings.CutSuffix(dir, "/charts")
	project = strings.TrimSuffix(strings.TrimPrefix(project, "/"), "/all")
	if !ok || !strings.HasSuffix(file, ".tgz") {
		return Reference{}, badRef(s, "it is not https://HOST/PROJECT/charts/CHART-VERSION.tgz")
	}
	if _, err := filePath(project, file); err != nil {
		return Reference{}, err
	}
	return Reference{Written: s, Ref: Ref{Project: project}, Server: base, Door: base, File: file}, nil
}

// FileReference names a release at hand: a file with its proof.
func FileReference(path string, s Subject) Reference {
	return Reference{Written: path, Ref: s.Asked, Local: &s}
}

// reference is how a release that was verified before is fetched again. It has
// no server when none is known.
func (p Pin) reference(server string) Reference {
	r := Reference{Written: p.Ref.String(), Ref: p.Ref, Server: serverAt(p.Door, server), Door: p.Door, origin: p.Origin}
	if strings.HasPrefix(p.Door, ociScheme) {
		r.Written = p.Door + "/" + p.Project + "/" + p.Chart + ":" + chart.TagFor(p.Version)
	}
	return r
}

// serverAt is the base URL of the server behind a door, "" for none. Of an OCI
// door only the host is known: the rest is that of the configured server, if it
// has the same host.
func serverAt(door, server string) string {
	if strings.HasPrefix(door, ociScheme) && hostOf(server) == hostOf(door) {
		return server
	}
	base, err := serverOfDoor(door)
	if err != nil {
		return ""
	}
	return base
}

// serverOfDoor is the base URL of the server behind a door.
func serverOfDoor(door string) (string, error) {
	base := door
	if host, ok := strings.CutPrefix(door, ociScheme); ok {
		base = "https://" + host
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = host
		}
		if ip := net.ParseIP(strings.Trim(name, "[]")); name == "localhost" || ip != nil && ip.IsLoopback() {
			base = "http://" + host
		}
		if strings.ContainsAny(host, "/?#@") {
			base = ""
		}
	}
	c, err := New(base, "", Options{})
	if err == nil && c.base != base {
		err = problem.New(problem.Invalid, "server-url", "%q is not the URL of a server in its usual spelling", base)
	}
	return base, err
}

// hostOf is the host and port of a base URL or door, "" for none.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Host
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// fetch gets what is to be verified of a release through its door.
func (c *Client) fetch(ctx context.Context, r Reference) (Subject, error) {
	switch {
	case strings.HasPrefix(r.Door, ociScheme):
		return c.fetchOCI(ctx, r.Ref)
	case r.File != "":
		return c.fetchURL(ctx, r)
	}
	return c.fetchRelease(ctx, r.Ref)
}

// fetchRelease asks the management API, and takes the archive from the classic
// door, where the API says that it is.
func (c *Client) fetchRelease(ctx context.Context, ref Ref) (Subject, error) {
	rel, err := c.Release(ctx, ref.Project, ref.Chart, cmp.Or(ref.Version, "latest"))
	if err != nil {
		return Subject{}, err
	}
	s := Subject{Asked: ref, Server: &rel.Release}
	if ref.Version == "" || ref.Version == "latest" {
		s.Asked.Version = rel.Version
	}
	if rel.Proof != "" {
		s.Proof = []byte(rel.Proof)
	}
	if rel.Provenance != "" {
		if s.Provenance, err = c.Provenance(ctx, ref.Project, rel.File); err != nil {
			return Subject{}, err
		}
	}
	s.Archive, err = c.wholeArchive(ctx, ref.Project, rel.File, ref.String())
	return s, err
}

// fetchURL asks the classic door alone.
func (c *Client) fetchURL(ctx context.Context, r Reference) (Subject, error) {
	s := Subject{Asked: r.Ref, File: r.File}
	archive, err := c.wholeArchive(ctx, r.Project, r.File, r.Written)
	if err != nil {
		return Subject{}, err
	}
	s.Archive = archive
	path, err := filePath(r.Project, r.File)
	if err != nil {
		return Subject{}, err
	}
	if s.Proof, err = c.file(ctx, path+".tlog-proof", tlog.MaxProof); err == nil || problem.KindOf(err) == problem.NotFound {
		s.Provenance, err = c.Provenance(ctx, r.Project, r.File)
	}
	if problem.KindOf(err) == problem.NotFound {
		err = nil // what is not there stays unchecked
	}
	return s, err
}

func (c *Client) wholeArchive(ctx context.Context, project, file, what string) (io.ReadSeeker, error) {
	archive, err := c.Archive(ctx, project, file, chart.DefaultLimits().Archive)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	b, err := io.ReadAll(archive)
	if err != nil {
		return nil, CutShort(what, err)
	}
	return bytes.NewReader(b), nil
}

// Media types of a chart in an OCI registry, as Helm writes and reads them.
const (
	typeManifest   = "application/vnd.oci.image.manifest.v1+json"
	typeChart      = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	typeChartOld   = "application/tar+gzip"
	typeProvenance = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// maxManifest bounds a manifest, in bytes, as registries do.
const maxManifest = 4 << 20

// fetchOCI asks the OCI door as Helm does: the manifest of the tag, then its
// layers by digest. The proof is not part of it and comes from the API. No
// credential but the client's own token is used, and that only if there is one.
func (c *Client) fetchOCI(ctx context.Context, ref Ref) (Subject, error) {
	repository := "/v2/" + ref.Project + "/" + ref.Chart
	if !chart.IsRepository(ref.Project + "/" + ref.Chart) {
		return Subject{}, badRef(ref.String(), "its name cannot be that of an OCI repository")
	}
	s := Subject{Asked: ref}
	var err error
	if s.Manifest, err = c.blob(ctx, repository+"/manifests/"+chart.TagFor(ref.Version), typeManifest, maxManifest); err != nil {
		return Subject{}, err
	}
	var m struct {
		Layers []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(s.Manifest, &m); err != nil {
		return Subject{}, problem.New(problem.Unavailable, "answer", "the OCI manifest of %s cannot be read", ref).With("server", "%s", c.base).Because(err)
	}
	var archive []byte
	for _, l := range m.Layers {
		var into *[]byte
		var limit int64
		switch l.MediaType {
		case typeChart, typeChartOld:
			into, limit = &archive, chart.DefaultLimits().Archive
		case typeProvenance:
			into, limit = &s.Provenance, MaxProvenance
		default:
			continue
		}
		if digest.Check(l.Digest) != nil || *into != nil {
			return Subject{}, problem.New(problem.Unavailable, "answer", "the OCI manifest of %s is not that of a chart", ref).With("server", "%s", c.base)
		}
		if *into, err = c.blob(ctx, repository+"/blobs/"+l.Digest, "", limit); err != nil {
			return Subject{}, err
		}
	}
	if archive == nil {
		return Subject{}, problem.New(problem.Unavailable, "answer", "the OCI manifest of %s has no chart", ref).With("server", "%s", c.base)
	}
	s.Archive = bytes.NewReader(archive)
	s.Proof, err = c.Proof(ctx, ref.Project, ref.Chart, ref.Version)
	return s, err
}

// blob gets a file of the OCI door.
func (c *Client) blob(ctx context.Context, path, accept string, limit int64) ([]byte, error) {
	res, err := c.do(ctx, call{method: http.MethodGet, path: path, accept: accept})
	if err != nil {
		return nil, err
	}
	defer drain(res.Body)
	b, err := c.read(res, limit)
	if b == nil && err == nil {
		b = []byte{}
	}
	return b, err
}
