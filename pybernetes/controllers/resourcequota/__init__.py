"""ResourceQuota: what a namespace uses, recounted."""
