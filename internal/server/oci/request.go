package oci

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/digest"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Kind is what a request asks for. The names in the comments are those of the
// specification's table of end points.
type Kind uint8

// The kinds.
const (
	KindNone           Kind = iota
	KindPing                // end-1
	KindToken               // token end point
	KindCatalog             // GET /v2/_catalog
	KindBlob                // end-2
	KindDeleteBlob          // end-10
	KindStartUpload         // end-4a, 4b, 4c and end-11
	KindUploadStatus        // end-13
	KindAppendUpload        // end-5
	KindFinishUpload        // end-6
	KindCancelUpload        // end-14
	KindManifest            // end-3
	KindPutManifest         // end-7a, 7b
	KindDeleteManifest      // end-9
	KindTags                // end-8a, 8b
	KindReferrers           // end-12a, 12b
	kinds
)

// Resource is what the path of a request names.
type Resource uint8

// The resources.
const (
	ResourceNone      Resource = iota
	ResourceRoot               // /v2/
	ResourceToken              // /v2/token
	ResourceCatalog            // /v2/_catalog
	ResourceBlob               // /v2/<name>/blobs/<digest>
	ResourceUploads            // /v2/<name>/blobs/uploads/
	ResourceUpload             // /v2/<name>/blobs/uploads/<id>
	ResourceManifest           // /v2/<name>/manifests/<tag-or-digest>
	ResourceTags               // /v2/<name>/tags/list
	ResourceReferrers          // /v2/<name>/referrers/<digest>
	resources
)

// Request is what a method and a URL say. When Parse returns no error, every
// name, tag and digest in it is well formed, but for From; whether it exists is
// another matter.
type Request struct {
	Kind     Kind
	Resource Resource

	Repository string // whole repository name, such as "team-a/web"
	Tag        string // of the path of a manifest, unless that is a digest
	Digest     string // of the path, or of "?digest="; "" when there is none
	Upload     string // id of an upload

	Tags         []string // of "?tag=", each once, in the order given
	Mount, From  string   // of a mount; From is "" for any repository, and unchecked
	ArtifactType string   // filter of the referrers, "" for all
	Last         string   // where a page begins, exclusively
	Limit        int      // "?n=" as far as it is sensible, or -1
	Query        url.Values
}

// Reference is the tag or the digest in the path of a manifest.
func (r *Request) Reference() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.Tag
}

// Rules of the problems that Parse returns, beside those of packages server and
// digest.
const (
	RuleName      = "oci-name"      // the repository name is not well formed
	RuleReference = "oci-reference" // the tag is not well formed
	RuleTags      = "oci-tags"      // ?tag= is more, or stands elsewhere, than is offered
	RulePage      = "oci-page"      // ?n= or ?last= cannot be read
	RuleRoute     = "oci-route"     // no end point has this path
)

// MaxTags is how many "?tag=" one manifest may carry; the specification asks
// for at least 10.
const MaxTags = 64

// maxLimit is the largest page: 10,000 tags of the longest kind are 1.3 MB.
const maxLimit = 10_000

// maxQuery bounds the raw query, in bytes: MaxTags tags of the longest kind, or
// the scopes of a token request.
const maxQuery = 16 << 10

// kindOf is the table of methods. A resource does not take the methods that
// are missing in its row.
var kindOf = [resources]struct{ get, post, put, patch, del Kind }{
	ResourceRoot:      {get: KindPing},
	ResourceToken:     {get: KindToken, post: KindToken},
	ResourceCatalog:   {get: KindCatalog},
	ResourceBlob:      {get: KindBlob, del: KindDeleteBlob},
	ResourceUploads:   {post: KindStartUpload},
	ResourceUpload:    {get: KindUploadStatus, put: KindFinishUpload, patch: KindAppendUpload, del: KindCancelUpload},
	ResourceManifest:  {get: KindManifest, put: KindPutManifest, del: KindDeleteManifest},
	ResourceTags:      {get: KindTags},
	ResourceReferrers: {get: KindReferrers},
}

// Allow lists the methods that a resource takes, for the Allow header.
func (s Resource) Allow() string {
	k := kindOf[s]
	var list []string
	if k.get != KindNone {
		list = append(list, http.MethodGet, http.MethodHead)
	}
	if k.post != KindNone {
		list = append(list, http.MethodPost)
	}
	if k.put != KindNone {
		list = append(list, http.MethodPut)
	}
	if k.patch != KindNone {
		list = append(list, http.MethodPatch)
	}
	if k.del != KindNone {
		list = append(list, http.MethodDelete)
	}
	return strings.Join(list, ", ")
}

func (s Resource) kind(method string) Kind {
	k := kindOf[s]
	switch method {
	case http.MethodGet, http.MethodHead:
		return k.get
	case http.MethodPost:
		return k.post
	case http.MethodPut:
		return k.put
	case http.MethodPatch:
		return k.patch
	case http.MethodDelete:
		return k.del
	}
	return KindNone
}

// Parse reads a request whose path begins with /v2, without its context path.
// It looks at nothing but its arguments and allocates nothing for a request
// without a query. Problems are of kind invalid, not-found (for a path that no
// end point has, and a tag to read that cannot exist) or unsupported (a method
// that the path does not take); the Request then holds what was understood.
func Parse(method string, u *url.URL) (Request, error) {
	req := Request{Limit: -1}
	if len(u.Path) > maxPath {
		return req, problem.New(problem.Invalid, RuleRoute, "the path is longer than %d bytes", maxPath)
	}
	last, ok := req.split(u.Path)
	if !ok {
		return req, problem.New(problem.NotFound, RuleRoute, "no end point of the OCI distribution API has this path")
	}
	if req.Kind = req.Resource.kind(method); req.Kind == KindNone {
		return req, problem.New(problem.Unsupported, server.RuleMethod, "this path does not take %s", clip(method)).
			With("offered", "%s", req.Resource.Allow())
	}
	if err := req.setPath(last); err != nil {
		return req, err
	}
	if u.RawQuery == "" {
		return req, nil
	}
	return req, req.setQuery(u)
}

// split finds the resource and the name from the end of the path, because a
// name may itself have segments such as "manifests". It returns the segment
// behind the resource's keyword, unchecked.
func (r *Request) split(path string) (last string, ok bool) {
	path, ok = strings.CutPrefix(path, "/v2")
	if !ok {
		return "", false
	}
	switch path {
	case "", "/":
		r.Resource = ResourceRoot
		return "", true
	case "/token":
		r.Resource = ResourceToken
		return "", true
	case "/_catalog":
		r.Resource = ResourceCatalog
		return "", true
	}
	if path[0] != '/' {
		return "", false
	}
	path = path[1:]
	if name, ok := strings.CutSuffix(path, "/blobs/uploads"); ok { // some clients leave the slash out
		r.Resource, r.Repository = ResourceUploads, name
		return "", true
	}
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", false
	}
	head, last := path[:i], path[i+1:]
	for _, k := range keywords {
		if name, ok := strings.CutSuffix(head, k.suffix); ok {
			r.Resource, r.Repository = k.resource, name
			switch {
			case k.resource == ResourceTags && last != "list":
				return "", false
			case k.resource == ResourceUpload && last == "":
				r.Resource = ResourceUploads
			}
			return last, true
		}
	}
	return "", false
}

// keywords are in the order of how often they are asked for; no one is a suffix
// of another.
var keywords = [...]struct {
	suffix   string
	resource Resource
}{
	{"/blobs", ResourceBlob},
	{"/manifests", ResourceManifest},
	{"/blobs/uploads", ResourceUpload},
	{"/tags", ResourceTags},
	{"/referrers", ResourceReferrers},
}

// setPath checks the name and what stands behind the keyword.
func (r *Request) setPath(last string) error {
	if r.Resource <= ResourceCatalog {
		return nil
	}
	if !chart.IsRepository(r.Repository) {
		name := r.Repository
		r.Repository = ""
		return badName(name)
	}
	switch r.Resource {
	case ResourceBlob, ResourceReferrers:
		r.Digest = last
		return digest.Check(last)
	case ResourceUpload:
		if !validUploadID(last) {
			return problem.New(problem.NotFound, "", "there is no such upload")
		}
		r.Upload = last
	case ResourceManifest:
		switch {
		case strings.IndexByte(last, ':') >= 0:
			r.Digest = last
			return digest.Check(last)
		case chart.IsTag(last):
			r.Tag = last
		case r.Kind == KindManifest:
			// The conformance program of version 1.1.1 asks for 404 here.
			return problem.New(problem.NotFound, RuleReference, "there is no manifest %q in %s: that is not a tag", clip(last), r.Repository)
		default:
			return badTag(last)
		}
	}
	return nil
}

// setQuery reads the parameters that the kind knows; others are ignored, as
// "ns" of a proxying client is.
func (r *Request) setQuery(u *url.URL) error {
	if len(u.RawQuery) > maxQuery {
		return problem.New(problem.Invalid, server.RulePath, "the query is longer than %d bytes", maxQuery)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return problem.New(problem.Invalid, server.RulePath, "the query of the URL cannot be read").Because(err)
	}
	switch r.Kind {
	case KindToken:
		r.Query = q
	case KindStartUpload:
		return r.setUpload(q)
	case KindFinishUpload:
		return r.setDigest(q)
	case KindPutManifest:
		return r.setTags(q["tag"])
	case KindTags:
		return r.setPage(q, chart.IsTag)
	case KindCatalog:
		return r.setPage(q, chart.IsRepository)
	case KindReferrers:
		// A media type has no space: one is a "+" that the client did not escape.
		r.ArtifactType = strings.ReplaceAll(q.Get("artifactType"), " ", "+")
		if r.Last = q.Get("last"); r.Last != "" {
			return digest.Check(r.Last)
		}
	}
	return nil
}

func (r *Request) setDigest(q url.Values) error {
	if d, ok := q["digest"]; ok {
		r.Digest = d[0]
		return digest.Check(r.Digest)
	}
	return nil
}

func (r *Request) setUpload(q url.Values) error {
	if err := r.setDigest(q); err != nil {
		return err
	}
	if a := q.Get("digest-algorithm"); a != "" {
		if _, err := digest.NewHash(a); err != nil {
			return err
		}
	}
	if r.Mount = q.Get("mount"); r.Mount != "" {
		r.From = q.Get("from")
		return digest.Check(r.Mount)
	}
	return nil
}

func (r *Request) setTags(tags []string) error {
	switch {
	case len(tags) == 0:
		return nil
	case r.Digest == "":
		return problem.New(problem.Invalid, RuleTags, "?tag= goes with a digest in the path, not with a tag").
			Suggest("put the manifest by its digest, or put it once for each tag")
	case len(tags) > MaxTags:
		return problem.New(problem.Invalid, RuleTags, "a manifest can be put with %d tags at once, not with %d", MaxTags, len(tags))
	}
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		if !chart.IsTag(t) {
			return badTag(t)
		}
		if !seen[t] {
			seen[t] = true
			r.Tags = append(r.Tags, t)
		}
	}
	return nil
}

func (r *Request) setPage(q url.Values, valid func(string) bool) error {
	if values, ok := q["n"]; ok {
		n, ok := number(values[0])
		if !ok {
			return problem.New(problem.Invalid, RulePage, "n is %q, and not a number of entries", clip(values[0]))
		}
		r.Limit = int(min(n, maxLimit))
	}
	if last := q.Get("last"); last != "" {
		if !valid(last) {
			return problem.New(problem.Invalid, RulePage, "last is %q, which is no name of an entry", clip(last)).
				Suggest("follow the Link header of the page before")
		}
		r.Last = last
	}
	return nil
}

func badName(name string) error {
	e := problem.New(problem.Invalid, RuleName, "%q is not a repository name", clip(name)).
		With("allowed", "lower-case letters and digits, joined by single '.', '_', '__', or hyphens, in segments divided by '/'; at most %d bytes", chart.MaxRepository)
	if lower := strings.ToLower(name); lower != name && chart.IsRepository(lower) {
		e.Suggest("use %s", lower)
	}
	return e
}

func badTag(tag string) error {
	e := problem.New(problem.Invalid, RuleReference, "%q is not a tag", clip(tag)).
		With("allowed", "letters, digits, '_', '.' and '-', the first neither '.' nor '-'; at most %d bytes", chart.MaxTag)
	if strings.Contains(tag, "+") {
		e.Suggest("write '_' for '+', as Helm does: %s", clip(strings.ReplaceAll(tag, "+", "_")))
	}
	return e
}

// clip bounds what a client sent where it stands in a message.
func clip(s string) string {
	const most = 160
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
