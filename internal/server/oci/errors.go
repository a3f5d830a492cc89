package oci

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/chartkeep/chartkeep/internal/access"
	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/server"
)

// The codes of the specification (section "Error Codes"). codeUnknown and
// codeUnavailable are Docker's, for answers of 5xx, of which the specification
// says nothing.
const (
	codeBlobUnknown         = "BLOB_UNKNOWN"
	codeUploadInvalid       = "BLOB_UPLOAD_INVALID"
	codeUploadUnknown       = "BLOB_UPLOAD_UNKNOWN"
	codeDigestInvalid       = "DIGEST_INVALID"
	codeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	codeManifestInvalid     = "MANIFEST_INVALID"
	codeManifestUnknown     = "MANIFEST_UNKNOWN"
	codeNameInvalid         = "NAME_INVALID"
	codeNameUnknown         = "NAME_UNKNOWN"
	codeSizeInvalid         = "SIZE_INVALID"
	codeUnauthorized        = "UNAUTHORIZED"
	codeDenied              = "DENIED"
	codeUnsupported         = "UNSUPPORTED"
	codeTooManyRequests     = "TOOMANYREQUESTS"
	codeUnknown             = "UNKNOWN"
	codeUnavailable         = "UNAVAILABLE"
)

// codeOfRule, codeOfKind and codeOfResource are the one table from problems to
// codes. A rule wins over a kind; where the kind alone does not tell, what the
// path names decides.
var (
	codeOfRule = map[string]string{
		RuleName:       codeNameInvalid,
		RuleNoDigest:   codeDigestInvalid,
		RuleRoute:      codeUnsupported,
		RulePage:       codeUnsupported,
		RuleUploadSize: codeSizeInvalid,

		// Of the rooms below.
		"digest-form":           codeDigestInvalid,
		"digest-algorithm":      codeDigestInvalid,
		"digest-mismatch":       codeDigestInvalid,
		"manifest-blob-unknown": codeManifestBlobUnknown,
		"repository-name":       codeNameInvalid,
		"repository-unknown":    codeNameUnknown,
		"project":               codeNameUnknown,
		"project-removed":       codeNameUnknown,
		access.RuleHidden:       codeNameUnknown,

		server.RuleRange:           codeSizeInvalid,
		server.RuleTooManyAttempts: codeTooManyRequests,
	}
	codeOfKind = map[problem.Kind]string{
		problem.Unauthenticated: codeUnauthorized,
		problem.Denied:          codeDenied,
		problem.Immutable:       codeDenied,
		problem.Conflict:        codeDenied,
		problem.Policy:          codeDenied,
		problem.Unsupported:     codeUnsupported,
		problem.Unavailable:     codeUnavailable,
		problem.Disproven:       codeUnknown,
		problem.Internal:        codeUnknown,
	}
	codeOfResource = [resources]struct{ invalid, missing string }{
		ResourceNone:      {codeUnsupported, codeUnsupported},
		ResourceRoot:      {codeUnsupported, codeUnsupported},
		ResourceToken:     {codeUnsupported, codeUnsupported},
		ResourceCatalog:   {codeUnsupported, codeNameUnknown},
		ResourceBlob:      {codeDigestInvalid, codeBlobUnknown},
		ResourceUploads:   {codeUploadInvalid, codeNameUnknown},
		ResourceUpload:    {codeUploadInvalid, codeUploadUnknown},
		ResourceManifest:  {codeManifestInvalid, codeManifestUnknown},
		ResourceTags:      {codeNameInvalid, codeNameUnknown},
		ResourceReferrers: {codeDigestInvalid, codeNameUnknown},
	}
)

// Code is the specification's code for a problem with what a path names.
func Code(resource Resource, p *problem.Error) string {
	if code, ok := codeOfRule[p.Rule]; ok {
		return code
	}
	if p.Rule == "blob-unknown" && resource == ResourceManifest {
		return codeManifestBlobUnknown
	}
	switch p.Kind {
	case problem.NotFound, problem.Gone:
		return codeOfResource[resource].missing
	case problem.Conflict:
		if resource == ResourceUpload {
			return codeUploadInvalid
		}
	case problem.Invalid, problem.TooLarge:
		return codeOfResource[resource].invalid
	}
	if code, ok := codeOfKind[p.Kind]; ok {
		return code
	}
	return codeUnknown
}

// WriteError is the server.ErrorWriter of the door.
//
// The error has no detail: clients print that raw, as a Go map or not at all,
// so that everything there is to say stands in the message.
func WriteError(w http.ResponseWriter, r *http.Request, status int, p *problem.Error) {
	req, _ := Parse(r.Method, r.URL)
	h := w.Header()
	h[headerAPIVersion] = apiVersion
	failure := ""
	switch {
	case !hasBearer(r):
	case p.Rule == ruleScope:
		// The bearer is good, but for something else. Clients ask for one with
		// the scope of the challenge, and show this message if that fails too.
		status, failure = http.StatusUnauthorized, "insufficient_scope"
	case p.Rule == access.RuleSignIn:
		failure = "insufficient_scope"
	case status == http.StatusUnauthorized:
		failure = "invalid_token"
	}
	if status == http.StatusUnauthorized {
		h.Set("Www-Authenticate", challenge(r, &req, failure))
	}
	var body errorBody
	body.Errors[0].Code = Code(req.Resource, p)
	body.Errors[0].Message = message(p)
	_ = server.WriteJSON(w, status, &body) // fails only when the client is gone
}

// ruleScope is of package release: the bearer was asked for with another scope
// than the request needs.
const ruleScope = "scope"

type errorBody struct {
	Errors [1]struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
}

// message is all that a person sees of a problem: the sentence, the facts one a
// line, what to do next. Control characters would reach a terminal; they become
// spaces.
func message(p *problem.Error) string {
	var b strings.Builder
	line := func(indent, label, text string) {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(indent)
		b.WriteString(plain(label))
		b.WriteString(plain(text))
	}
	line("", "", p.Message)
	for _, f := range p.Facts {
		line("  ", f.Label+": ", f.Value)
	}
	if p.Try != "" {
		line("", "Try: ", p.Try)
	}
	return b.String()
}

func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, s)
}

// hasBearer reports whether the request came with a bearer of the token end
// point, whose rights are narrower than those of its owner.
func hasBearer(r *http.Request) bool {
	const scheme = "bearer "
	v := r.Header.Get("Authorization")
	return len(v) > len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) &&
		strings.HasPrefix(strings.TrimLeft(v[len(scheme):], " "), access.BearerPrefix)
}

// challenge asks for a bearer (RFC 6750, Token Authentication Specification).
// There is one challenge only: with a second one for Basic, Docker's client
// fails where it has no password, even for what is public. Basic is taken all
// the same, and it is what the token end point asks for.
func challenge(r *http.Request, req *Request, failure string) string {
	if req.Resource == ResourceToken {
		return server.BasicChallenge
	}
	b := []byte("Bearer realm=")
	b = strconv.AppendQuote(b, server.BaseURL(r)+"/v2/token")
	b = append(b, ",service="...)
	b = strconv.AppendQuote(b, service(r))
	if scope := scopeOf(req); scope != "" {
		b = append(b, ",scope="...)
		b = strconv.AppendQuote(b, scope)
	}
	if failure != "" {
		b = append(b, ",error="...)
		b = strconv.AppendQuote(b, failure)
	}
	return string(b)
}

// scopeOf is what a bearer needs for the request.
func scopeOf(req *Request) string {
	switch {
	case req.Resource == ResourceCatalog:
		return "registry:catalog:*"
	case req.Repository == "":
		return ""
	}
	scope := "repository:" + req.Repository
	switch req.Kind {
	case KindBlob, KindManifest, KindTags, KindReferrers:
		return scope + ":pull"
	case KindDeleteBlob, KindDeleteManifest:
		return scope + ":pull,push,delete"
	case KindStartUpload:
		if req.From != "" && chart.IsRepository(req.From) && req.From != req.Repository {
			return scope + ":pull,push repository:" + req.From + ":pull"
		}
	}
	return scope + ":pull,push"
}
