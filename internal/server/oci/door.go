package oci

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
	"github.com/chartkeep/chartkeep/internal/server"
)

// Registry is what the door asks of package release, whose Service documents
// the methods. Authorisation is inside of them. Rules of problems that the door
// gives a code of their own are listed at codeOfRule.
type Registry interface {
	StartUpload(ctx context.Context, c release.Caller, repository string) (id string, err error)
	UploadSize(ctx context.Context, c release.Caller, repository, id string) (size int64, err error)
	AppendUpload(ctx context.Context, c release.Caller, repository, id string, offset int64, r io.Reader) (size int64, err error)
	FinishUpload(ctx context.Context, c release.Caller, repository, id string, offset int64, r io.Reader, digest string) error
	CancelUpload(ctx context.Context, c release.Caller, repository, id string) error
	PutBlob(ctx context.Context, c release.Caller, repository string, r io.Reader, digest string) error
	MountBlob(ctx context.Context, c release.Caller, repository, digest, from string) (mounted bool, err error)
	StatBlob(ctx context.Context, c release.Caller, repository, digest string) (size int64, err error)
	OpenBlob(ctx context.Context, c release.Caller, repository, digest string) (release.Blob, error)
	DeleteBlob(ctx context.Context, c release.Caller, repository, digest string) error

	PutManifest(ctx context.Context, c release.Caller, repository string, ref release.ManifestRef, mediaType string, body []byte) (release.ManifestResult, error)
	GetManifest(ctx context.Context, c release.Caller, repository, ref string) (release.Manifest, error)
	DeleteManifest(ctx context.Context, c release.Caller, repository, ref string) error

	Tags(ctx context.Context, c release.Caller, repository, after string, limit int) (tags []string, more bool, err error)
	Catalog(ctx context.Context, c release.Caller, after string, limit int) (repositories []string, more bool, err error)
	Referrers(ctx context.Context, c release.Caller, repository, digest, artifactType string) ([]release.Descriptor, error)

	Authenticate(ctx context.Context, secret string) (access.Principal, error)
	AuthenticateBasic(ctx context.Context, user, password string) (access.Principal, error)
	MintBearer(ctx context.Context, c release.Caller, scopes []access.Scope, audience string) (token string, granted []access.Scope, expires time.Time, err error)
}

// Door serves /v2. It holds no state; all methods may be called from many
// goroutines.
type Door struct {
	registry Registry
	serve    [kinds]handler
}

type handler func(w http.ResponseWriter, r *http.Request, req *Request) error

// New returns the door to a registry.
func New(registry Registry) *Door {
	d := &Door{registry: registry}
	d.serve = [kinds]handler{
		KindPing:           d.ping,
		KindToken:          d.token,
		KindCatalog:        d.catalog,
		KindBlob:           d.blob,
		KindDeleteBlob:     d.deleteBlob,
		KindStartUpload:    d.startUpload,
		KindUploadStatus:   d.uploadStatus,
		KindAppendUpload:   d.appendUpload,
		KindFinishUpload:   d.finishUpload,
		KindCancelUpload:   d.cancelUpload,
		KindManifest:       d.manifest,
		KindPutManifest:    d.putManifest,
		KindDeleteManifest: d.deleteManifest,
		KindTags:           d.tags,
		KindReferrers:      d.referrers,
	}
	return d
}

// Serve is the server.Handler of the door. Its errors are for WriteError.
func (d *Door) Serve(w http.ResponseWriter, r *http.Request) error {
	w.Header()[headerAPIVersion] = apiVersion
	req, err := Parse(r.Method, r.URL)
	if err != nil {
		if req.Resource != ResourceNone && req.Kind == KindNone {
			w.Header().Set("Allow", req.Resource.Allow())
		}
		return err
	}
	return d.serve[req.Kind](w, r, &req)
}

// Header names in the form in which net/http keeps them, and values that never
// change: setting them so costs no allocation, which counts at thousands of
// pulls a second. Nobody may append to these slices; http.Header.Add copies,
// since they are full.
const (
	headerAPIVersion = "Docker-Distribution-Api-Version"
	headerDigest     = "Docker-Content-Digest"
	headerUploadID   = "Docker-Upload-Uuid"
	headerSubject    = "Oci-Subject"
	headerTag        = "Oci-Tag"
	headerFilters    = "Oci-Filters-Applied"
)

var (
	apiVersion  = []string{"registry/2.0"}
	octetStream = []string{"application/octet-stream"}
	bytesUnit   = []string{"bytes"}
	noLength    = []string{"0"}
)

// ping answers end-1. Without a credential it asks for one, even though public
// projects need none: containers/image and the login commands learn only here
// how to sign in, and an anonymous bearer token passes.
func (d *Door) ping(w http.ResponseWriter, r *http.Request, _ *Request) error {
	if err := challengeFirst(r); err != nil {
		return err
	}
	return server.WriteJSON(w, http.StatusOK, struct{}{})
}

// challengeFirst refuses a request that carries no credential at all, for what
// would otherwise be answered differently, and wrongly, to a client that only
// waits to be asked for the credential that it has.
func challengeFirst(r *http.Request) error {
	if len(r.Header["Authorization"]) > 0 || server.CallerOf(r).Principal.Kind != access.KindAnonymous {
		return nil
	}
	return problem.New(problem.Unauthenticated, access.RuleSignIn, "sign in, or ask the token end point for an anonymous token").
		Suggest("helm registry login, with a token as password")
}

// created answers with 201 and where the thing is that now exists.
func created(w http.ResponseWriter, location, digest string) error {
	h := w.Header()
	h["Location"] = []string{location}
	h[headerDigest] = []string{digest}
	h["Content-Length"] = noLength
	w.WriteHeader(http.StatusCreated)
	return nil
}

// path is the URL path below a repository, as a client reaches it.
func path(r *http.Request, repository, rest string) string {
	return server.ContextPath(r) + "/v2/" + repository + rest
}
