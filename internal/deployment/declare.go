package deployment

import (
	"strconv"
	"strings"
)

// Labels and annotations by which people declare what no file says otherwise.
const declared = "chartkeep/"

// declare takes over what labels or annotations declare of a deployment:
// chartkeep/environment, /owner, /route, /mission (0 to 3) and /exposure.
func declare(d *Deployment, sets ...map[string]string) {
	for _, set := range sets {
		for _, field := range []string{"environment", "owner", "route", "mission", "exposure"} {
			if v := strings.TrimSpace(set[declared+field]); v != "" {
				d.declare(field, v)
			}
		}
	}
}

// declare sets one field. What it cannot mean is told in Unresolved.
func (d *Deployment) declare(field, v string) {
	switch field {
	case "environment":
		d.Environment = v
	case "owner":
		d.Owner = v
	case "route":
		d.Route = v
	case "mission":
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 3 {
			d.Unresolved = append(d.Unresolved, "mission "+strconv.Quote(cut(v))+" is no tier from 0 to 3")
			return
		}
		d.Mission = &n
	case "exposure":
		switch e := Exposure(v); e {
		case ExposureSmall, ExposureControlled, ExposureOpen:
			d.Exposure, d.ExposureWhy = e, "declared"
		default:
			d.Unresolved = append(d.Unresolved, "exposure "+strconv.Quote(cut(v))+" is none of small, controlled and open")
		}
	}
}

// cut shortens foreign text for a sentence.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
