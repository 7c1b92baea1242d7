"""Model classes generated from published ISO 20022 schemas that pyiso20022 does not cover (`make iso-classes`)."""
