package manifest

import (
	"net/netip"
	"strings"
)

// Exposure is who can reach what the objects run, from the least: the values of
// the CERT/CC deployer tree.
type Exposure string

// The exposures.
const (
	ExposureSmall      Exposure = "small"
	ExposureControlled Exposure = "controlled"
	ExposureOpen       Exposure = "open"
)

func (e Exposure) rank() int {
	switch e {
	case ExposureOpen:
		return 2
	case ExposureControlled:
		return 1
	}
	return 0
}

// ExposureOf derives the exposure of a set of objects, and says from what. It
// is open when an object lets traffic in from outside the cluster, small when a
// NetworkPolicy holds the traffic to every pod, controlled otherwise. Whether
// what is outside is the internet, objects do not tell: the worse is assumed.
func ExposureOf(objects []Object) (Exposure, string) {
	level, why := ExposureSmall, "nothing runs"
	var pods []pod
	for _, o := range objects {
		if o.IsTest() {
			continue
		}
		if e, reason := exposureOf(o); e.rank() > level.rank() {
			level, why = e, o.ID()+" "+reason
		}
		pods = append(pods, podsOf(o)...)
	}
	if level != ExposureSmall || len(pods) == 0 {
		return level, why
	}
	for _, p := range pods {
		if !heldByPolicy(p, objects) {
			return ExposureControlled, "no NetworkPolicy holds the traffic to " + p.object.ID() + ", and nothing lets it in from outside the cluster"
		}
	}
	return ExposureSmall, "a NetworkPolicy holds the traffic to every pod"
}

// internalBalancer are the annotations that keep a load balancer inside.
var internalBalancer = map[string]string{
	"service.beta.kubernetes.io/aws-load-balancer-internal":              "",
	"service.beta.kubernetes.io/aws-load-balancer-scheme":                "internal",
	"service.beta.kubernetes.io/azure-load-balancer-internal":            "true",
	"networking.gke.io/load-balancer-type":                               "internal",
	"cloud.google.com/load-balancer-type":                                "internal",
	"service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type":     "private",
	"service.beta.kubernetes.io/oci-load-balancer-internal":              "true",
	"service.beta.kubernetes.io/openstack-internal-load-balancer":        "true",
	"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "intranet",
	"service.kubernetes.io/qcloud-loadbalancer-internal-subnetid":        "",
}

// exposureOf is how far a single object lets traffic in, and by what.
func exposureOf(o Object) (Exposure, string) {
	switch o.Kind {
	case "Ingress", "IngressRoute", "IngressRouteTCP", "IngressRouteUDP", "HTTPProxy", "VirtualServer", "TransportServer":
		return ExposureOpen, "lets traffic in from outside the cluster"
	case "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute":
		if o.Group == "gateway.networking.k8s.io" || o.Group == "networking.istio.io" {
			return ExposureOpen, "lets traffic in through a gateway"
		}
	case "VirtualService":
		for _, g := range stringsAt(o.Fields, "spec", "gateways") {
			if g != "mesh" {
				return ExposureOpen, "lets traffic in through the gateway " + g
			}
		}
	case "Route":
		if o.Group == "route.openshift.io" {
			return ExposureOpen, "lets traffic in from outside the cluster"
		}
	case "Service":
		return exposureOfService(o)
	}
	for _, p := range podsOf(o) {
		if on, _ := truth(p.spec, "hostNetwork"); on {
			return ExposureOpen, "listens on the network of its node"
		}
		for _, c := range p.containers() {
			for _, port := range tables(c.fields, "ports") {
				if n, ok := port["hostPort"].(float64); ok && n != 0 {
					return ExposureOpen, "listens on port " + scalar(n) + " of its node"
				}
			}
		}
	}
	return ExposureSmall, ""
}

func exposureOfService(o Object) (Exposure, string) {
	if ips := stringsAt(o.Fields, "spec", "externalIPs"); len(ips) > 0 {
		return ExposureOpen, "answers at the external address " + ips[0]
	}
	switch str(o.Fields, "spec", "type") {
	case "NodePort":
		return ExposureOpen, "is a NodePort"
	case "LoadBalancer":
		annotations := table(o.Fields, "metadata", "annotations")
		for key, want := range internalBalancer {
			v, set := annotations[key]
			if value := strings.ToLower(scalar(v)); set && (want == "" && value != "" && value != "false" || want != "" && value == want) {
				return ExposureControlled, "is a LoadBalancer that is annotated as internal"
			}
		}
		if ranges := stringsAt(o.Fields, "spec", "loadBalancerSourceRanges"); len(ranges) > 0 && allPrivate(ranges) {
			return ExposureControlled, "is a LoadBalancer for private addresses alone"
		}
		return ExposureOpen, "is a LoadBalancer"
	}
	return ExposureSmall, ""
}

func allPrivate(ranges []string) bool {
	for _, r := range ranges {
		p, err := netip.ParsePrefix(strings.TrimSpace(r))
		if err != nil || !p.Addr().IsPrivate() || p.Bits() < 7 || p.Addr().Is4() && p.Bits() < 8 {
			return false
		}
	}
	return true
}

// heldByPolicy reports whether a NetworkPolicy of the objects selects the pod
// and lets in only what it names.
func heldByPolicy(p pod, objects []Object) bool {
	labels := table(p.metadata, "labels")
	held := false
	for _, o := range objects {
		if o.Kind != "NetworkPolicy" || o.Namespace != p.object.Namespace || !kubernetesNetwork(o.Group) {
			continue
		}
		types := stringsAt(o.Fields, "spec", "policyTypes")
		if len(types) > 0 && !strings.Contains(strings.Join(types, " "), "Ingress") || !selects(table(o.Fields, "spec", "podSelector"), labels) {
			continue
		}
		held = true
		for _, rule := range list(o.Fields, "spec", "ingress") {
			// A rule without from lets everybody in.
			if r, ok := rule.(map[string]any); !ok || len(list(r, "from")) == 0 || everybody(tables(r, "from")) {
				return false
			}
		}
	}
	return held
}

func kubernetesNetwork(group string) bool {
	return group == "networking.k8s.io" || group == "extensions"
}

// everybody reports whether one of the peers is every address.
func everybody(peers []map[string]any) bool {
	for _, p := range peers {
		switch str(p, "ipBlock", "cidr") {
		case "0.0.0.0/0", "::/0":
			return true
		}
	}
	return false
}

// selects reports whether a label selector surely selects labels. Expressions
// are not judged: with them it may, and that is not enough.
func selects(selector, labels map[string]any) bool {
	if len(list(selector, "matchExpressions")) > 0 {
		return false
	}
	for k, v := range table(selector, "matchLabels") {
		if labels[k] != v {
			return false
		}
	}
	return true
}
