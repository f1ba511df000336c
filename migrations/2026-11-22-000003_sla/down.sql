DROP TABLE sla_figures;
