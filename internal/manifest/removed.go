package manifest

import (
	"strconv"
	"strings"
)

// removal is an API that Kubernetes once served.
type removal struct {
	api         string // group/version
	kinds       string // that were removed; "" for all of the group and version
	in          string // the first version of Kubernetes without it
	replacement string
}

// removals follow the deprecated API migration guide of Kubernetes.
var removals = []removal{
	{"extensions/v1beta1", "DaemonSet Deployment DeploymentRollback ReplicaSet Scale", "1.16", "apps/v1"},
	{"extensions/v1beta1", "NetworkPolicy", "1.16", "networking.k8s.io/v1"},
	{"extensions/v1beta1", "PodSecurityPolicy", "1.16", "Pod Security admission"},
	{"extensions/v1beta1", "Ingress", "1.22", "networking.k8s.io/v1"},
	{"apps/v1beta1", "", "1.16", "apps/v1"},
	{"apps/v1beta2", "", "1.16", "apps/v1"},
	{"admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration ValidatingWebhookConfiguration", "1.22", "admissionregistration.k8s.io/v1"},
	{"apiextensions.k8s.io/v1beta1", "", "1.22", "apiextensions.k8s.io/v1"},
	{"apiregistration.k8s.io/v1beta1", "", "1.22", "apiregistration.k8s.io/v1"},
	{"authentication.k8s.io/v1beta1", "TokenReview", "1.22", "authentication.k8s.io/v1"},
	{"authorization.k8s.io/v1beta1", "", "1.22", "authorization.k8s.io/v1"},
	{"certificates.k8s.io/v1beta1", "CertificateSigningRequest", "1.22", "certificates.k8s.io/v1"},
	{"coordination.k8s.io/v1beta1", "Lease", "1.22", "coordination.k8s.io/v1"},
	{"networking.k8s.io/v1beta1", "Ingress IngressClass", "1.22", "networking.k8s.io/v1"},
	{"rbac.authorization.k8s.io/v1alpha1", "", "1.22", "rbac.authorization.k8s.io/v1"},
	{"rbac.authorization.k8s.io/v1beta1", "", "1.22", "rbac.authorization.k8s.io/v1"},
	{"scheduling.k8s.io/v1alpha1", "PriorityClass", "1.22", "scheduling.k8s.io/v1"},
	{"scheduling.k8s.io/v1beta1", "PriorityClass", "1.22", "scheduling.k8s.io/v1"},
	{"storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment", "1.22", "storage.k8s.io/v1"},
	{"batch/v1beta1", "CronJob", "1.25", "batch/v1"},
	{"batch/v2alpha1", "CronJob", "1.21", "batch/v1"},
	{"discovery.k8s.io/v1beta1", "EndpointSlice", "1.25", "discovery.k8s.io/v1"},
	{"events.k8s.io/v1beta1", "Event", "1.25", "events.k8s.io/v1"},
	{"autoscaling/v2beta1", "HorizontalPodAutoscaler", "1.25", "autoscaling/v2"},
	{"autoscaling/v2beta2", "HorizontalPodAutoscaler", "1.26", "autoscaling/v2"},
	{"policy/v1beta1", "PodDisruptionBudget Eviction", "1.25", "policy/v1"},
	{"policy/v1beta1", "PodSecurityPolicy", "1.25", "Pod Security admission"},
	{"node.k8s.io/v1alpha1", "RuntimeClass", "1.22", "node.k8s.io/v1"},
	{"node.k8s.io/v1beta1", "RuntimeClass", "1.25", "node.k8s.io/v1"},
	{"flowcontrol.apiserver.k8s.io/v1alpha1", "", "1.21", "flowcontrol.apiserver.k8s.io/v1"},
	{"flowcontrol.apiserver.k8s.io/v1beta1", "", "1.26", "flowcontrol.apiserver.k8s.io/v1"},
	{"flowcontrol.apiserver.k8s.io/v1beta2", "", "1.29", "flowcontrol.apiserver.k8s.io/v1"},
	{"flowcontrol.apiserver.k8s.io/v1beta3", "", "1.32", "flowcontrol.apiserver.k8s.io/v1"},
	{"storage.k8s.io/v1beta1", "CSIStorageCapacity", "1.27", "storage.k8s.io/v1"},
	{"admissionregistration.k8s.io/v1alpha1", "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding", "1.32", "admissionregistration.k8s.io/v1"},
	{"admissionregistration.k8s.io/v1beta1", "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding", "1.34", "admissionregistration.k8s.io/v1"},
	{"storage.k8s.io/v1alpha1", "CSIStorageCapacity VolumeAttachment", "1.24", "storage.k8s.io/v1"},
	{"storage.k8s.io/v1alpha1", "VolumeAttributesClass", "1.35", "storage.k8s.io/v1"},
	{"storage.k8s.io/v1beta1", "VolumeAttributesClass", "1.37", "storage.k8s.io/v1"},
	{"networking.k8s.io/v1beta1", "IPAddress ServiceCIDR", "1.37", "networking.k8s.io/v1"},
	{"certificates.k8s.io/v1alpha1", "ClusterTrustBundle", "1.37", "certificates.k8s.io/v1beta1"},
	{"authentication.k8s.io/v1alpha1", "SelfSubjectReview", "1.32", "authentication.k8s.io/v1"},
	{"authentication.k8s.io/v1beta1", "SelfSubjectReview", "1.33", "authentication.k8s.io/v1"},
}

// goneGroups are the groups and versions that were removed wholly, and when.
var goneGroups = map[string]string{
	"extensions/v1beta1": "1.22", "policy/v1beta1": "1.25", "batch/v1beta1": "1.25", "discovery.k8s.io/v1beta1": "1.25",
	"events.k8s.io/v1beta1": "1.25", "autoscaling/v2beta1": "1.25", "autoscaling/v2beta2": "1.26",
}

// RemovedIn says in which version of Kubernetes an API was removed, such as
// "1.22", and what replaces it. It is false for what is still served, and for
// what is not Kubernetes' own.
func RemovedIn(group, version, kind string) (in, replacement string, removed bool) {
	api := version
	if group != "" {
		api = group + "/" + version
	}
	for _, r := range removals {
		if r.api != api {
			continue
		}
		if r.kinds == "" {
			return r.in, r.replacement, true
		}
		for k := range strings.FieldsSeq(r.kinds) {
			if k == kind {
				return r.in, r.replacement, true
			}
		}
	}
	return "", "", false
}

// before reports whether a version of Kubernetes is older than another. Only
// major and minor count.
func before(version, than string) bool {
	a, b := minorOf(version), minorOf(than)
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

func minorOf(version string) (out [2]int) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	for i := range min(len(parts), 2) {
		out[i], _ = strconv.Atoi(strings.TrimRight(parts[i], "+-abcdefghijklmnopqrstuvwxyz"))
	}
	return out
}
