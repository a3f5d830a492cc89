package api

import (
	_ "embed"

	"github.com/chartkeep/chartkeep/internal/tlog"
)

func (d *Door) logInfo(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	info, err := d.svc.LogInfo(c.ctx)
	if err != nil {
		return reply{}, err
	}
	return reply{body: logAnswer{"log/v1", info, string(info.Checkpoint)}}, nil
}

func (d *Door) logLeaf(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	index, err := number("index", c.params["index"])
	if err != nil {
		return reply{}, err
	}
	leaf, err := d.svc.Leaf(c.ctx, c.caller, index)
	if err != nil {
		return reply{}, err
	}
	return reply{body: leafAnswer{"log-leaf/v1", index, string(leaf), tlog.LeafHash(leaf).String()}}, nil
}

func (d *Door) logConsistency(c *call) (reply, error) {
	q, err := c.query("old", "new")
	if err != nil {
		return reply{}, err
	}
	from, err := number("old", q.Get("old"))
	if err != nil {
		return reply{}, err
	}
	to, err := number("new", q.Get("new"))
	if err != nil {
		return reply{}, err
	}
	hashes, err := d.svc.Consistency(c.ctx, from, to)
	if err != nil {
		return reply{}, err
	}
	a := consistencyAnswer{Schema: "log-consistency/v1", Old: from, New: to, Hashes: make([]string, len(hashes))}
	for i, h := range hashes {
		a.Hashes[i] = h.String()
	}
	return reply{body: a}, nil
}

func (d *Door) version(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{body: versionAnswer{"version/v1", d.cfg.Version, d.cfg.Commit}}, nil
}

//go:embed openapi.yaml
var openAPI []byte

func (d *Door) openAPI(*call) (reply, error) {
	return reply{raw: openAPI, contentType: "application/yaml"}, nil
}
