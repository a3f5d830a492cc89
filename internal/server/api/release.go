package api

import (
	"io"
	"net/http"

	"github.com/chartkeep/chartkeep/internal/problem"
	"github.com/chartkeep/chartkeep/internal/release"
)

func (d *Door) listCharts(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	limit, err := limitOf(q)
	if err != nil {
		return reply{}, err
	}
	charts, more, err := d.svc.Charts(c.ctx, c.caller, c.params["project"], q.Get("after"), limit)
	if err != nil {
		return reply{}, err
	}
	l := list[release.ChartSummary]{Schema: "chart-list/v1", Items: notNil(charts)}
	if more && len(charts) > 0 {
		l.Next = charts[len(charts)-1].Name
	}
	return reply{body: l}, nil
}

func (d *Door) listReleases(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	releases, err := d.svc.Releases(c.ctx, c.caller, c.params["project"], c.params["chart"])
	if err != nil {
		return reply{}, err
	}
	return page("release-list/v1", releases, func(r release.Release) string { return r.Version }, q)
}

func (d *Door) getRelease(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	detail, err := d.svc.Release(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"])
	if err != nil {
		return reply{}, err
	}
	rel := detail.Release
	// The proof is asked for by the version found: "latest" may move meanwhile.
	proof, err := d.svc.Proof(c.ctx, c.caller, rel.Project, rel.Chart, rel.Version)
	if err != nil {
		return reply{}, err
	}
	return reply{body: detailAnswer{"release-detail/v1", rel, detail.Metadata, proofText(proof), detail.Signed}}, nil
}

func (d *Door) getProof(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	proof, err := d.svc.Proof(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"])
	if err != nil {
		return reply{}, err
	}
	return reply{raw: proof.Marshal(), contentType: "text/plain; charset=utf-8"}, nil
}

func (d *Door) push(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	up, err := c.upload(false)
	if err != nil {
		return reply{}, err
	}
	receipt, err := d.svc.PushArchive(c.ctx, c.caller, c.params["project"], up, up.prov, release.PushOptions{FileName: up.fileName})
	return received(receipt, up.blame(err))
}

func (d *Door) importRelease(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	up, err := c.upload(true)
	if err != nil {
		return reply{}, err
	}
	receipt, err := d.svc.ImportRelease(c.ctx, c.caller, c.params["project"], up, up.prov, up.origin)
	return received(receipt, up.blame(err))
}

// received answers 201 for a new release and 200 for one that stood already.
func received(r release.Receipt, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	status := http.StatusCreated
	if r.Unchanged {
		status = http.StatusOK
	}
	return receiptReply(status, r), nil
}

func receiptReply(status int, r release.Receipt) reply {
	return reply{status: status, body: receiptAnswer{"release-receipt/v1", r.Release, r.Unchanged, proofText(r.Proof), r.Signed}}
}

func (d *Door) attachProvenance(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	prov, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, release.MaxProvenance))
	if err != nil {
		return reply{}, err
	}
	if len(prov) == 0 {
		return reply{}, problem.New(problem.Invalid, "provenance-empty", "the request has no provenance file as its body")
	}
	receipt, err := d.svc.AttachProvenance(c.ctx, c.caller, c.params["project"], prov)
	if err != nil {
		return reply{}, err
	}
	return receiptReply(http.StatusOK, receipt), nil
}

type yankRequest struct {
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

func (d *Door) yank(c *call) (reply, error) {
	var req yankRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	rel, err := d.svc.Yank(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], req.Reason, req.Text)
	if err != nil {
		return reply{}, err
	}
	return reply{body: releaseAnswer{"release/v1", rel}}, nil
}

type unyankRequest struct {
	Text string `json:"text"`
}

func (d *Door) unyank(c *call) (reply, error) {
	var req unyankRequest
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	if err := c.decode(&req); err != nil {
		return reply{}, err
	}
	rel, err := d.svc.Unyank(c.ctx, c.caller, c.params["project"], c.params["chart"], c.params["version"], req.Text)
	if err != nil {
		return reply{}, err
	}
	return reply{body: releaseAnswer{"release/v1", rel}}, nil
}

func (d *Door) listYankReasons(c *call) (reply, error) {
	q, err := c.query("after", "limit")
	if err != nil {
		return reply{}, err
	}
	return page("yank-reason-list/v1", release.YankReasons(), func(r release.YankReason) string { return r.Code }, q)
}
