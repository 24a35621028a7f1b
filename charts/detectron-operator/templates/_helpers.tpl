{{- define "detectron-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "detectron-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "detectron-operator.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "detectron-operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "detectron-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "detectron-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "detectron-operator.labels" -}}
{{ include "detectron-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "detectron-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "detectron-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Takes a list of an image's values and the tag it has by default. */}}
{{- define "detectron-operator.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) }}
{{- end }}
{{- end }}

{{/* Namespaces that the operator serves, as JSON; none stands for all. */}}
{{- define "detectron-operator.namespaces" -}}
{{- if eq .Values.scope "Cluster" }}
{{- list | toJson }}
{{- else }}
{{- default (list .Release.Namespace) .Values.watchNamespaces | toJson }}
{{- end }}
{{- end }}

{{- define "detectron-operator.rules" -}}
# Jobs are read and, where runPolicy.ttlSecondsAfterFinished asks for it, deleted; only their status is ever written.
- apiGroups: [detectron.dev]
  resources: [detectrontrainingjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [detectron.dev]
  resources: [detectrontrainingjobs/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services, configmaps, persistentvolumeclaims]
  verbs: [get, create]
# PodGroups of jobs that ask for Volcano or Coscheduling.
- apiGroups: [scheduling.volcano.sh, scheduling.x-k8s.io]
  resources: [podgroups]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}
