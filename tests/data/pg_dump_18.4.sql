--
-- PostgreSQL database dump
--

\restrict F9BDiWGotDwwKoM4yGKIXGByuf7dgQnlHMQhV3igZOco2qvYlYOhFIr50Vh2eOT

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: vector; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;


--
-- Name: EXTENSION vector; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: t; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.t (
    i integer,
    v public.vector
);


ALTER TABLE public.t OWNER TO postgres;

--
-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.t (i, v) FROM stdin;
1	[1,2]
2	[1,2]
3	[1,2]
\.


--
-- PostgreSQL database dump complete
--

\unrestrict F9BDiWGotDwwKoM4yGKIXGByuf7dgQnlHMQhV3igZOco2qvYlYOhFIr50Vh2eOT

